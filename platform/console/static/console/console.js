// The only place for what the console's pages do in the browser. Without it every page still works.
"use strict";

const typing = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;

/* Copy */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const icon = button.querySelector(".material-symbols-outlined") ?? button;
  const before = icon.textContent;
  icon.textContent = icon === button ? "Copied" : "check";
  setTimeout(() => { icon.textContent = before; }, 1500);
});

/* Menu on a phone */
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-menu]");
  if (!button) return;
  const open = document.getElementById("side").classList.toggle("cs-open");
  button.setAttribute("aria-expanded", String(open));
});

/* Keys: j and k move, a and r vote, / searches, ? helps */
const links = () => [...document.querySelectorAll("[data-list] tr[data-row] th a")];

const move = (by) => {
  const neighbour = document.querySelector(`a[data-key="${by > 0 ? "j" : "k"}"]`);
  if (neighbour) return neighbour.click();
  const found = links();
  const at = found.indexOf(document.activeElement);
  const next = found[at < 0 ? (by > 0 ? 0 : found.length - 1) : at + by];
  next?.focus();
};

const approve = () => {
  const button = document.querySelector('button[data-key="a"]');
  if (!button) return;
  // Two strokes: nothing takes effect because of one stray key.
  if (document.activeElement === button) return button.click();
  button.focus();
  button.scrollIntoView({ block: "nearest" });
  button.classList.add("cs-armed");
  button.addEventListener("blur", () => button.classList.remove("cs-armed"), { once: true });
};

const actions = {
  j: () => move(1),
  k: () => move(-1),
  a: approve,
  r: () => document.querySelector('[data-key="r"]')?.focus(),
  "/": () => document.querySelector('[data-key="/"]')?.focus(),
  "?": () => document.getElementById("keys-help")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && typing(event.target)) return event.target.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

/* A part that refreshes itself keeps what is marked and what is unfolded */
let kept = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  const part = event.detail.target;
  kept = {
    row: document.activeElement?.closest?.("tr[data-row]")?.dataset.row,
    open: [...part.querySelectorAll("details")].map((each) => each.open),
  };
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (!kept) return;
  document.querySelector(`tr[data-row="${kept.row}"] a`)?.focus({ preventScroll: true });
  const part = document.getElementById(event.detail.target.id);
  part?.querySelectorAll("details").forEach((each, at) => { if (kept.open[at]) each.open = true; });
  kept = null;
});

/* unfold's script looks for its own text field beside each file field, unless it is marked so */
const markFiles = (root) => {
  root.querySelectorAll('input[type="file"]').forEach((field) => { field.hasChangeListener = true; });
};
markFiles(document);

/* Upload with progress; without it the form is sent as any other. The page and the chosen files stay
   where the answer is no page of the console: too large a body gets a problem, a proxy its own words */
const UNREACHED = "The connection broke, and nobody knows what arrived. Reload the page to see it, and try again.";

const problemIn = (request) => {
  const again = `The answer (${request.status}) is no page of the console. Reload the page, and try again.`;
  if (!request.getResponseHeader("Content-Type")?.startsWith("application/problem+json")) return again;
  try {
    const { title, detail } = JSON.parse(request.responseText);
    return detail || title || again;
  } catch {
    return again;
  }
};

const uploading = (form, is) => {
  form.querySelector("[data-progress]").hidden = !is;
  form.querySelector('button[type="submit"]').disabled = is;
};

const refuse = (form, sentence) => {
  uploading(form, false);
  const note = form.querySelector("[data-refused]");
  note.querySelector("[data-sentence]").textContent = sentence;
  note.hidden = false;
};

const takeAnswer = (form, request) => {
  const answer = new DOMParser().parseFromString(request.responseText, "text/html");
  const content = answer.querySelector("main#content");
  if (!content) return refuse(form, problemIn(request));
  if (request.status < 400) history.replaceState(null, "", request.responseURL);
  markFiles(answer);
  document.querySelector("main").replaceWith(content);
  htmx.process(document.querySelector("main"));
};

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-upload]");
  if (!form) return;
  event.preventDefault();
  const bar = form.querySelector("progress");
  const request = new XMLHttpRequest();
  bar.value = 0;
  form.querySelector("[data-refused]").hidden = true;
  uploading(form, true);
  request.upload.addEventListener("progress", (step) => {
    if (step.lengthComputable) bar.value = (100 * step.loaded) / step.total;
  });
  request.addEventListener("load", () => takeAnswer(form, request));
  request.addEventListener("error", () => refuse(form, UNREACHED));
  request.open("POST", form.action);
  request.send(new FormData(form));
});

/* The policies' editor: line numbers, and the way from a flaw to its place */
const editor = document.querySelector("[data-editor]");
if (editor) {
  const gutter = document.querySelector("[data-gutter]");
  const flawed = new Set([...document.querySelectorAll("[data-line]")].map((each) => Number(each.dataset.line)));
  const number = () => {
    const count = editor.value.split("\n").length;
    gutter.replaceChildren(
      ...Array.from({ length: count }, (_, at) => {
        const mark = document.createElement(flawed.has(at + 1) ? "b" : "span");
        mark.textContent = at + 1;
        return [mark, "\n"];
      }).flat(),
    );
    gutter.scrollTop = editor.scrollTop;
  };
  editor.addEventListener("input", number);
  editor.addEventListener("scroll", () => { gutter.scrollTop = editor.scrollTop; });
  number();
  document.querySelectorAll("a[data-line]").forEach((link) => {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const lines = editor.value.split("\n");
      const line = Number(link.dataset.line) - 1;
      const before = lines.slice(0, line).join("\n").length + (line ? 1 : 0);
      const column = Number(link.dataset.column ?? 1) - 1;
      editor.focus();
      editor.setSelectionRange(before + column, before + (lines[line] ?? "").length);
      editor.scrollTop = Math.max(0, (line - 5) * 20);
    });
  });
}
