// Sends files in pieces as soon as they are chosen, and goes on where it stopped after a break or a reload.
// The form then carries the uploads' tokens in place of the files. Without JavaScript the form carries the files.

const PIECE = 8 * 1024 * 1024;
const RETRIES = 6;
const csrf = document.querySelector('meta[name="csrf-token"]').content;

const units = ["B", "kB", "MB", "GB", "TB"];
const words = (bytes) => {
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${bytes.toFixed(bytes < 10 && unit ? 1 : 0)} ${units[unit]}`;
};

async function call(method, url, { json, body, offset } = {}) {
  const headers = { "X-CSRF-Token": csrf, Accept: "application/json" };
  if (json) headers["Content-Type"] = "application/json";
  if (body) headers["Content-Type"] = "application/octet-stream";
  if (offset !== undefined) headers["Upload-Offset"] = String(offset);
  const response = await fetch(url, { method, headers, body: json ? JSON.stringify(json) : body });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error.message), { status: response.status });
  return answer;
}

const memory = (project, file) => `upload:${project}:${file.name}:${file.size}:${file.lastModified}`;

async function begin(base, project, file) {
  const key = memory(project, file);
  const token = localStorage.getItem(key);
  if (token) {
    try {
      return await call("GET", `${base}/${token}`);
    } catch {
      localStorage.removeItem(key);
    }
  }
  const json = { project_id: Number(project), filename: file.name, size: file.size };
  const state = await call("POST", base, { json });
  localStorage.setItem(key, state.token);
  return state;
}

async function send(base, project, file, show) {
  let state = await begin(base, project, file);
  let failures = 0;
  while (!state.sha256 && state.offset < file.size) {
    show(state.offset);
    try {
      const body = file.slice(state.offset, state.offset + PIECE);
      state = await call("PATCH", `${base}/${state.token}`, { body, offset: state.offset });
      failures = 0;
    } catch (error) {
      failures += 1;
      if (failures > RETRIES || (error.status && error.status !== 409 && error.status < 500)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** failures));
      state = await call("GET", `${base}/${state.token}`).catch(() => state);
    }
  }
  state = await call("POST", `${base}/${state.token}/finish`);
  localStorage.removeItem(memory(project, file));
  show(file.size);
  return state.token;
}

function line(list, file) {
  const row = document.createElement("div");
  row.className = "upload";
  const text = document.createElement("span");
  const bar = document.createElement("progress");
  bar.className = "progress";
  bar.max = file.size || 1;
  bar.value = 0;
  bar.setAttribute("aria-label", file.name);
  row.append(text, bar);
  list.append(row);
  const show = (done) => {
    bar.value = done;
    text.textContent = `${file.name}: ${words(done)} of ${words(file.size)}`;
  };
  show(0);
  return { row, show, text, bar };
}

for (const field of document.querySelectorAll("[data-upload]")) {
  const base = field.dataset.upload;
  const input = field.querySelector('input[type="file"]');
  const list = field.querySelector("[data-upload-list]");
  const form = input.form;
  const name = input.name;
  let pending = Promise.resolve();
  let waiting = 0;

  input.addEventListener("change", () => {
    for (const file of input.files) {
      const { row, show, text, bar } = line(list, file);
      waiting += 1;
      pending = pending.then(async () => {
        try {
          const token = await send(base, form.elements.project_id.value, file, show);
          const hidden = Object.assign(document.createElement("input"), { type: "hidden", name: `${name}_token` });
          hidden.value = token;
          row.append(hidden);
          bar.classList.add("progress-done");
        } catch (error) {
          bar.classList.add("progress-failed");
          text.className = "wrong";
          text.textContent = `${file.name}: ${error.message} Choose it again to go on.`;
          row.dataset.failed = "true";
        } finally {
          waiting -= 1;
        }
      });
    }
    input.value = "";
  });

  form.addEventListener("submit", async (event) => {
    if (!waiting) return;
    event.preventDefault();
    const button = event.submitter;
    const label = button.textContent;
    button.disabled = true;
    button.textContent = "Waiting for the upload";
    await pending;
    button.disabled = false;
    button.textContent = label;
    if (!list.querySelector("[data-failed]")) form.requestSubmit(button);
  });
}
