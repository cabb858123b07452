// Elements made in one line. Styles come from classes alone: the page's policy lets in no inline ones.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | EventListener | undefined>;

export function h<K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Attributes = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(name), attributes, children);
}

export function s(name: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill<E extends Element>(element: E, attributes: Attributes, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return element;
}

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Changes text only where it differs, so that a screen reader isn't told the same again. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A table with a caption for those who don't see it; numbers are set to the right. */
export function table(caption: string, head: string[], body: Child[][], numeric: number[] = []): HTMLElement {
  const cell = (name: "td" | "th", place: number, content: Child) =>
    h(name, { class: numeric.includes(place) ? "number" : undefined, scope: name === "th" ? "col" : undefined }, content);
  const rows = body.map((row) => h("tr", {}, ...row.map((content, place) => cell("td", place, content))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, ...head.map((text, place) => cell("th", place, text)))), h("tbody", {}, ...rows)));
}
