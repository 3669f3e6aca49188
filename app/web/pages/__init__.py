"""The pages. A module here that has `pages: Pages` is found by `app.main`."""
