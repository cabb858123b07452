// A field that finds a pair or pipeline among hundreds: a combobox as ARIA describes it.

import type { Series } from "./api.ts";
import { h } from "./dom.ts";
import { keyOf, matches } from "./facts.ts";

const MOST = 50;

export class Search {
  readonly #input: HTMLInputElement;
  readonly #list: HTMLElement;
  readonly #choose: (series: Series) => void;
  #all: Series[] = [];
  #found: Series[] = [];
  #active = 0;
  #chosen = "";

  constructor(input: HTMLInputElement, list: HTMLElement, choose: (series: Series) => void) {
    this.#input = input;
    this.#list = list;
    this.#choose = choose;
    input.addEventListener("focus", () => {
      input.select();
      this.#open("");
    });
    input.addEventListener("input", () => this.#open(input.value));
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.#close());
  }

  /** The series to choose from: one of each pair and pipeline. */
  set series(all: Series[]) {
    this.#all = all;
  }

  set chosen(text: string) {
    this.#chosen = text;
    if (document.activeElement !== this.#input) this.#input.value = text;
  }

  #open(search: string): void {
    const several = new Set(this.#all.map((s) => s.pipeline)).size > 1;
    this.#found = this.#all.filter((s) => matches(search, s.pair, s.pipeline)).slice(0, MOST);
    this.#active = 0;
    const options = this.#found.map((s, n) =>
      h("li", { role: "option", id: `option-${n}`, mousedown: (event) => {
        event.preventDefault();
        this.#take(n);
      } }, s.pair, several ? h("span", { class: "soft" }, ` ${s.pipeline}`) : null));
    this.#list.replaceChildren(...(options.length ? options : [h("li", { class: "soft", role: "option", "aria-disabled": "true" }, "nothing is predicted under that name")]));
    this.#list.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#mark();
  }

  #close(): void {
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.removeAttribute("aria-activedescendant");
    this.#input.value = this.#chosen;
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Escape") this.#input.blur();
    else if (event.key === "Enter") this.#take(this.#active);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.#active = Math.max(0, Math.min(this.#found.length - 1, this.#active + step));
      this.#mark();
    } else return;
    event.preventDefault();
  }

  #take(place: number): void {
    const series = this.#found[place];
    if (!series) return;
    this.chosen = series.pair;
    this.#input.blur();
    this.#choose(series);
  }

  #mark(): void {
    if (this.#found.length === 0) return;
    [...this.#list.children].forEach((option, n) => option.setAttribute("aria-selected", String(n === this.#active)));
    this.#input.setAttribute("aria-activedescendant", `option-${this.#active}`);
    this.#list.children[this.#active]?.scrollIntoView({ block: "nearest" });
  }
}

/** One series of each pair and pipeline, by name: that of the shortest horizon. */
export function choices(all: Iterable<Series>): Series[] {
  const found = new Map<string, Series>();
  for (const series of all) {
    const key = keyOf({ ...series, horizon: 0 });
    const known = found.get(key);
    if (!known || series.horizon < known.horizon) found.set(key, series);
  }
  return [...found.values()].sort((a, b) => a.pair.localeCompare(b.pair) || a.pipeline.localeCompare(b.pipeline));
}
