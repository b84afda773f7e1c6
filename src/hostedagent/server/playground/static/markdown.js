// The only place where text becomes HTML: Markdown by marked, sanitized by DOMPurify.

import { marked } from "./vendor/marked.js";

const purify = globalThis.DOMPurify;

purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
});

marked.use({ gfm: true, breaks: true });

export function markdown(text) {
  const view = document.createElement("div");
  view.className = "markdown";
  view.innerHTML = purify.sanitize(marked.parse(text), {
    FORBID_TAGS: ["style", "form", "input", "button", "iframe"],
    FORBID_ATTR: ["style", "id", "name"],
  });
  return view;
}
