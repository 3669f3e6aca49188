// Dark or light: the system decides until the person does. The choice is a cookie, so that the server draws it at once.

const root = document.documentElement;
const button = document.querySelector("[data-theme-toggle]");

const present = () =>
  root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const chosen = present() === "dark" ? "light" : "dark";
    root.dataset.theme = chosen;
    const home = document.querySelector(".brand").getAttribute("href");
    document.cookie = `theme=${chosen}; path=${home}; max-age=31536000; samesite=lax`;
    document.dispatchEvent(new CustomEvent("themechange", { detail: chosen }));
  });
}
