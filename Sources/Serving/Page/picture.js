// Pictures that a question is about: read from files, made small, shown.

import { button, element } from "./dom.js";
import { text } from "./words.js";

/// The longest side, in pixels, and the most bytes of a file that is sent as it is: towers see some hundreds of pixels, and the
/// browser keeps conversations in a few megabytes.
const longestSide = 768;
const largestFile = 1 << 17;
const kinds = ["image/png", "image/jpeg", "image/webp"];

export function isPicture(file) { return file.type.startsWith("image/"); }

/// The picture of a file as a data: URL; null where the browser cannot read it.
export async function pictureOf(file) {
  let bitmap;
  try { bitmap = await createImageBitmap(file); } catch { return null; }
  const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.size <= largestFile && kinds.includes(file.type)) return urlOf(file);
  const canvas = element("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  // What is transparent becomes white, as people see it on a page.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

function urlOf(file) {
  return new Promise(resolve => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => resolve(null);
    reader.readAsDataURL(file);
  });
}

/// Whether a value from a file or from the store is such a picture.
export function isPictureURL(value) {
  return typeof value === "string" && kinds.some(kind => value.startsWith(`data:${kind};base64,`));
}

/// Pictures side by side. `remove` is called with the place of one that is to go.
export function picturesElement(pictures, remove) {
  return element("div", { class: "pictures" }, ...pictures.map((url, index) => {
    const image = element("img", { src: url, alt: text("picture", { number: index + 1 }) });
    if (!remove) return image;
    return element("span", { class: "attached" }, image,
      button("✕", () => remove(index), { class: "icon", title: text("removePicture"), "aria-label": text("removePicture") }));
  }));
}
