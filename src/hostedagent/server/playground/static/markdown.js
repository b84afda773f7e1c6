// The only place where text becomes HTML: Markdown by marked, sanitized by DOMPurify.

import { button, copy, h } from "./dom.js";
import { marked } from "./vendor/marked.js";

const purify = globalThis.DOMPurify;

purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
});

marked.use({
  gfm: true,
  breaks: true,
  // A box of a task list is text: a model's answer brings no controls.
  renderer: { checkbox: ({ checked }) => `<span class="task">${checked ? "☑" : "☐"}</span> ` },
});

export function markdown(text) {
  const view = document.createElement("div");
  view.className = "markdown";
  view.innerHTML = purify.sanitize(marked.parse(text), {
    FORBID_TAGS: ["style", "form", "input", "button", "iframe"],
    FORBID_ATTR: ["style", "id", "name"],
  });
  for (const block of view.children) block.dir = "auto"; // Each block begins where its own language does.
  view.querySelectorAll("pre").forEach(addCopy);
  view.querySelectorAll("table").forEach(addFrame);
  return view;
}

// A wide table scrolls by itself, and a column of sentences keeps a width at which they can be read.
function addFrame(table) {
  for (const cell of table.querySelectorAll("th, td")) cell.classList.toggle("wide", cell.textContent.length > 24);
  const frame = h("div", { class: "table-frame", tabindex: "0" });
  table.replaceWith(frame);
  frame.append(table);
}

function addCopy(pre) {
  pre.tabIndex = 0;
  pre.dir = "ltr";
  const text = pre.textContent.replace(/\n$/, "");
  const frame = h("div", { class: "code-frame" }, button("Copy", (event) => copy(text, event.currentTarget), { "aria-label": "Copy the code" }));
  pre.replaceWith(frame);
  frame.prepend(pre);
}
