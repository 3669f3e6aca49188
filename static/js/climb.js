// Marks by a click on the picture: in, out, neither; the radio buttons below it say which.

const next = { "": "in", in: "out", out: "" };

for (const form of document.querySelectorAll("[data-climb]")) {
  const count = form.querySelector("[data-climb-count]");
  const before = count.textContent;
  const tally = () => {
    const marked = (value) => form.querySelectorAll(`[value=${value}]:checked`).length;
    count.textContent = `${before} · now ${marked("in")} in, ${marked("out")} out`;
  };
  form.addEventListener("change", tally);
  for (const item of form.querySelectorAll(".climb-item")) {
    item.querySelector("img").addEventListener("click", () => {
      const chosen = item.querySelector(":checked");
      const wanted = next[chosen?.value ?? ""];
      if (chosen) chosen.checked = false;
      if (wanted) item.querySelector(`[value=${wanted}]`).checked = true;
      tally();
    });
  }
}
