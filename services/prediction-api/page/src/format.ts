// Numbers and times as people read them.

export function price(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "–";
  const digits = priceDigits(value);
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Decimals that show a price to about six digits. */
export function priceDigits(value: number): number {
  const size = Math.abs(value);
  if (size >= 1000 || size === 0) return 2;
  if (size >= 1) return 4;
  return Math.min(12, 5 - Math.floor(Math.log10(size)));
}

export function percent(share: number | undefined, digits = 1): string {
  return share === undefined || !Number.isFinite(share) ? "–" : `${(100 * share).toFixed(digits).replace("-", "−")}%`;
}

export function signedPercent(share: number | undefined, digits = 1): string {
  return share !== undefined && share > 0 ? `+${percent(share, digits)}` : percent(share, digits);
}

/** A stretch of time in its largest unit: 45 s, 5 min, 2 h, 3 d. */
export function duration(seconds: number): string {
  const size = Math.max(0, Math.round(seconds));
  for (const [unit, name] of [[86_400, "d"], [3_600, "h"], [60, "min"]] as const) {
    if (size >= unit) {
      const value = size / unit;
      return `${Number.isInteger(value) || value >= 10 ? Math.round(value) : value.toFixed(1)} ${name}`;
    }
  }
  return `${size} s`;
}

export function clock(moment: string | number | undefined, withSeconds = false): string {
  if (moment === undefined) return "–";
  return new Date(moment).toLocaleTimeString("en-GB", {
    hour: "2-digit", minute: "2-digit", ...(withSeconds ? { second: "2-digit" as const } : {}),
  });
}

export function dateTime(moment: string | number | undefined): string {
  if (moment === undefined) return "–";
  return new Date(moment).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}
