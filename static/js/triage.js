// Judging slices from the keyboard: j and k step, a, r and u judge, Enter opens, / searches. Forms do the work.

const cards = [...document.querySelectorAll("[data-triage] .card")];
const keys = { a: "accept", r: "reject", u: "unsure" };
let here = cards.findIndex((card) => `#${card.id}` === location.hash);

function typing(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

function stand(index) {
  if (!cards.length) return;
  here = Math.min(Math.max(index, 0), cards.length - 1);
  for (const card of cards) delete card.dataset.here;
  cards[here].dataset.here = "";
  cards[here].querySelector(".card-title a")?.focus({ preventScroll: true });
  cards[here].scrollIntoView({ block: "nearest" });
  history.replaceState(null, "", `#${cards[here].id}`);
}

function step(by) {
  if (cards.length) return stand(here + by);
  document.querySelector(`[data-step] [rel=${by > 0 ? "next" : "prev"}]`)?.click();
}

async function judge(form, verdict) {
  const button = form.querySelector(`[value=${verdict}]`);
  const body = new URLSearchParams(new FormData(form));
  body.set("verdict", verdict);
  const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
  if (answer.type !== "opaqueredirect" && !answer.ok) return button.click();
  for (const other of form.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
  if (cards.length) step(1);
  else document.querySelector("[data-step] [rel=next]")?.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") {
    event.preventDefault();
    const search = document.querySelector("[data-search]");
    if (search) search.focus();
    else location.assign(document.querySelector(".tabs a[href$='/slices']").href + "#search");
  } else if (keys[event.key]) {
    const scope = cards.length ? cards[Math.max(here, 0)] : document;
    const form = scope.querySelector("[data-verdicts]");
    if (form) judge(form, keys[event.key]);
  }
});

if (location.hash === "#search") document.querySelector("[data-search]")?.focus();
else if (here >= 0) stand(here);
