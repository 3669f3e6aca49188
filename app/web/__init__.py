"""Pages and their JSON twins; knows no maths."""
