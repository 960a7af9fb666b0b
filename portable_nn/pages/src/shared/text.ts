// Numbers as people read them.

/** Six significant digits, as Python's `:.6g` writes them. */
export function rounded(value: number, digits = 6): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  const trimmed = (text: string) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (exponent < -4 || exponent >= digits) {
    const [mantissa, power] = value.toExponential(digits - 1).split("e") as [string, string];
    return `${trimmed(mantissa)}e${power[0] === "-" ? "-" : "+"}${power.replace(/^[+-]/, "").padStart(2, "0")}`;
  }
  return trimmed(value.toFixed(digits - 1 - exponent));
}

/** As a person writes it, 122,800 or 0.0123: with a power of ten only below 1e-4 and from 1e9 on; `grouped` is for reading, not for typing. */
export function plain(value: number, digits = 6, grouped = true): string {
  const shown = Number(value.toPrecision(digits)), size = Math.abs(shown);
  if (!(size >= 1000 && Math.abs(value) < 1e9)) return rounded(value, digits);
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return shown.toLocaleString("en", { maximumFractionDigits: places, useGrouping: grouped });
}

/** A share as a percentage. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(share >= 0.9995 || share < 0.0005 ? 2 : 1)} %`;
}

/** `{count} digit` or `{count} digits`. */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}
