// Files that are attached to the next message: chosen, dropped or pasted.

import { button, h, icon } from "./dom.js";

const AUDIO = { "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav" };

export class Attachments {
  #parts = [];

  constructor(list) {
    this.list = list;
  }

  async add(files) {
    for (const file of files) {
      this.#parts.push({ name: file.name || "pasted", part: await partOf(file) });
    }
    this.#show();
  }

  // The parts so far; afterwards there are none.
  take() {
    const parts = this.#parts.map(({ part }) => part);
    this.#parts = [];
    this.#show();
    return parts;
  }

  get isEmpty() {
    return this.#parts.length === 0;
  }

  #show() {
    this.list.replaceChildren(...this.#parts.map((entry) =>
      h("li", {}, entry.name, button(icon("cross"), () => {
        this.#parts.splice(this.#parts.indexOf(entry), 1);
        this.#show();
      }, { "aria-label": `Remove ${entry.name}` })),
    ));
  }
}

async function partOf(file) {
  const url = await dataUrl(file);
  if (file.type.startsWith("image/")) return { type: "input_image", image_url: url, detail: "auto" };
  const format = AUDIO[file.type];
  if (format) return { type: "input_audio", input_audio: { data: url.slice(url.indexOf(",") + 1), format } };
  return { type: "input_file", filename: file.name || "pasted", file_data: url };
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
