// The numbers that numpy's default_rng draws: SeedSequence, PCG64, and the ziggurat of the normal distribution.
// Sources: O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
// Generation"; Marsaglia and Tsang, "The Ziggurat Method for Generating Random Variables"; Lemire, arXiv 1805.10941.

const [MASK_64, MASK_128] = [(1n << 64n) - 1n, (1n << 128n) - 1n];
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** Words of 32 bits in which no bit of the seed stays where it was: four of 64 bits together. */
function spread(seed: number): bigint[] {
  const words: number[] = [];
  for (let rest = BigInt(seed); rest > 0n || !words.length; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  let constant = 0x43b0d7e5;
  const hashed = (word: number) => {
    let value = word ^ constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mixed = (one: number, other: number) => {
    const value = Math.imul(one, 0xca01f9dd) - Math.imul(other, 0x4973f715);
    return value ^ (value >>> 16);
  };
  const pool = [0, 1, 2, 3].map((place) => hashed(words[place] ?? 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  }
  let last = 0x8b51f9dd;
  const found = Array.from({ length: 8 }, (_, place) => {
    let value = pool[place % 4] ^ last;
    last = Math.imul(last, 0x58f38ded);
    value = Math.imul(value, last);
    return BigInt((value ^ (value >>> 16)) >>> 0);
  });
  return [0, 2, 4, 6].map((place) => found[place] | (found[place + 1] << 32n));
}

/** Layers of equal area under exp(-x²/2), which the last has with the tail, from where that begins. */
const [LAYERS, TAIL, AREA] = [256, 3.6541528853610087963519472518, 0.004928673233974655];
const WHOLE = 2 ** 52;
const curve = (x: number) => Math.exp(-0.5 * x * x);

/** The ends of the layers, from the lowest, which is as wide as if it had no tail, to the top. */
const ENDS = [AREA / curve(TAIL), TAIL];
while (ENDS.length < LAYERS) {
  const end = ENDS[ENDS.length - 1];
  ENDS.push(Math.sqrt(-2 * Math.log(AREA / end + curve(end))));
}
ENDS.push(0);
/** By numpy's numbers of layers: 0 is the lowest, 1 the highest, and 255 is above the lowest. */
const endOf = (layer: number) => ENDS[layer ? LAYERS - layer : 0];
const HEIGHTS = Float64Array.from({ length: LAYERS }, (_, layer) => (layer ? curve(endOf(layer)) : 1));
const WIDTHS = Float64Array.from({ length: LAYERS }, (_, layer) => endOf(layer) / WHOLE);
/** Below this, of 2⁵², a point of a layer is under the curve for sure. */
const SURE = Float64Array.from({ length: LAYERS }, (_, layer) =>
  Math.floor((layer === 0 ? TAIL / ENDS[0] : layer === 1 ? 0 : endOf(layer - 1) / endOf(layer)) * WHOLE),
);

/** What `numpy.random.default_rng(seed)` draws, one after another. */
export class Generator {
  private state: bigint;
  private readonly step: bigint;
  /** The upper half of 64 bits of which the lower have been taken. */
  private half: number | null = null;

  constructor(seed: number) {
    const [high, low, first, second] = spread(seed);
    this.step = ((((first << 64n) | second) << 1n) | 1n) & MASK_128;
    this.state = this.step;
    this.state = (this.state + ((high << 64n) | low)) & MASK_128;
    this.advance();
  }

  private advance(): void {
    this.state = (this.state * MULTIPLIER + this.step) & MASK_128;
  }

  private bits(): bigint {
    this.advance();
    const [high, low] = [this.state >> 64n, this.state & MASK_64];
    const [word, by] = [high ^ low, high >> 58n];
    return ((word >> by) | (word << (64n - by))) & MASK_64;
  }

  private uniform(): number {
    return Number(this.bits() >> 11n) / 2 ** 53;
  }

  /** A number of the standard normal distribution, to thirteen digits. */
  normal(): number {
    for (;;) {
      const bits = this.bits();
      const layer = Number(bits & 0xffn);
      const place = Number((bits >> 9n) & 0xfffffffffffffn);
      const x = (bits >> 8n) & 1n ? -place * WIDTHS[layer] : place * WIDTHS[layer];
      if (place < SURE[layer]) return x;
      if (layer === 0) return (bits >> 17n) & 1n ? -this.tail() : this.tail();
      if ((HEIGHTS[layer - 1] - HEIGHTS[layer]) * this.uniform() + HEIGHTS[layer] < curve(x)) return x;
    }
  }

  private tail(): number {
    for (;;) {
      const [x, y] = [-Math.log1p(-this.uniform()) / TAIL, -Math.log1p(-this.uniform())];
      if (y + y > x * x) return TAIL + x;
    }
  }

  private word(): number {
    if (this.half !== null) {
      const found = this.half;
      this.half = null;
      return found;
    }
    const bits = this.bits();
    this.half = Number(bits >> 32n);
    return Number(bits & 0xffffffffn);
  }

  /** A whole number from 0 to below `count`, which is below 2³². */
  below(count: number): number {
    if (count === 1) return 0;
    for (;;) {
      const product = BigInt(this.word()) * BigInt(count);
      if (Number(product & 0xffffffffn) >= (2 ** 32 - count) % count) return Number(product >> 32n);
    }
  }
}

/** The numbers that are drawn with one seed, which several runs use. */
export class Normals {
  private readonly generator: Generator;
  private readonly drawn: number[] = [];

  constructor(readonly seed: number) {
    this.generator = new Generator(seed);
  }

  at(place: number): number {
    while (this.drawn.length <= place) this.drawn.push(this.generator.normal());
    return this.drawn[place];
  }
}
