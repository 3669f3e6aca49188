// The box for questions: / goes to it, and a question that is on its way is not sent twice.

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  document.querySelector("[data-ask] [name=sentence]")?.focus();
});

for (const form of document.querySelectorAll("[data-ask]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    button.textContent = "Asking …";
  });
}

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
