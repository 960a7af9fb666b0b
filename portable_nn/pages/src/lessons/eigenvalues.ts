// Eigenvalues of small real matrices, by the QR algorithm with Wilkinson's shifts, in complex numbers.
// Source: Golub and Van Loan, "Matrix Computations", sections 7.3 and 7.5.

export interface Complex {
  re: number;
  im: number;
}

const ITERATIONS = 300;
/** The iterations after which a shift is chosen that no symmetry of the matrix can keep. */
const STUCK = 10;

const complex = (re: number, im = 0): Complex => ({ re, im });
const add = (a: Complex, b: Complex): Complex => complex(a.re + b.re, a.im + b.im);
const subtract = (a: Complex, b: Complex): Complex => complex(a.re - b.re, a.im - b.im);
const multiply = (a: Complex, b: Complex): Complex => complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re);
const scale = (a: Complex, by: number): Complex => complex(a.re * by, a.im * by);
const conjugate = (a: Complex): Complex => complex(a.re, -a.im);

export function modulus(a: Complex): number {
  return Math.hypot(a.re, a.im);
}

function squareRoot(a: Complex): Complex {
  const size = modulus(a);
  const re = Math.sqrt((size + Math.abs(a.re)) / 2);
  if (re === 0) return complex(0);
  const im = Math.abs(a.im) / (2 * re);
  return a.re >= 0 ? complex(re, a.im < 0 ? -im : im) : complex(im, a.im < 0 ? -re : re);
}

/** Rotates two rows or columns, [from, to) of each, so that of (a, b), which are in them, b becomes 0. */
interface Rotation {
  cosine: Complex;
  sine: Complex;
}

function rotationOf(a: Complex, b: Complex): Rotation {
  const size = Math.hypot(modulus(a), modulus(b));
  return { cosine: scale(a, 1 / size), sine: scale(b, 1 / size) };
}

function rotateRows(matrix: Complex[][], row: number, other: number, { cosine, sine }: Rotation): void {
  for (let column = 0; column < matrix.length; column++) {
    const [a, b] = [matrix[row][column], matrix[other][column]];
    matrix[row][column] = add(multiply(conjugate(cosine), a), multiply(conjugate(sine), b));
    matrix[other][column] = subtract(multiply(cosine, b), multiply(sine, a));
  }
}

function rotateColumns(matrix: Complex[][], column: number, other: number, { cosine, sine }: Rotation): void {
  for (const row of matrix) {
    const [a, b] = [row[column], row[other]];
    row[column] = add(multiply(cosine, a), multiply(sine, b));
    row[other] = subtract(multiply(conjugate(cosine), b), multiply(conjugate(sine), a));
  }
}

/** Makes all entries below the first subdiagonal 0, by rotations that keep the eigenvalues. */
function reduce(matrix: Complex[][]): void {
  const size = matrix.length;
  for (let column = 0; column < size - 2; column++) {
    for (let row = column + 2; row < size; row++) {
      if (modulus(matrix[row][column]) === 0) continue;
      const rotation = rotationOf(matrix[column + 1][column], matrix[row][column]);
      rotateRows(matrix, column + 1, row, rotation);
      rotateColumns(matrix, column + 1, row, rotation);
      matrix[row][column] = complex(0);
    }
  }
}

/** The eigenvalue of the last two rows and columns up to `end` that is nearer to the last entry. */
function wilkinson(matrix: Complex[][], end: number): Complex {
  const [a, b] = [matrix[end - 1][end - 1], matrix[end - 1][end]];
  const [c, d] = [matrix[end][end - 1], matrix[end][end]];
  const half = scale(subtract(a, d), 0.5);
  const root = squareRoot(add(multiply(half, half), multiply(b, c)));
  const near = add(d, half);
  const [one, other] = [add(near, root), subtract(near, root)];
  return modulus(subtract(one, d)) <= modulus(subtract(other, d)) ? one : other;
}

function isSmall(matrix: Complex[][], row: number, least: number): boolean {
  const beside = modulus(matrix[row - 1][row - 1]) + modulus(matrix[row][row]);
  return modulus(matrix[row][row - 1]) <= Number.EPSILON * Math.max(beside, least);
}

/** The eigenvalues of a square matrix, row by row, by falling modulus; of a pair, the one above the real axis first. */
export function eigenvalues(rows: readonly (readonly number[])[]): Complex[] {
  const matrix = rows.map((row) => row.map((entry) => complex(entry)));
  const largest = Math.max(...rows.flat().map(Math.abs));
  if (!Number.isFinite(largest)) return rows.map(() => complex(Number.NaN, Number.NaN));
  reduce(matrix);
  let end = matrix.length - 1;
  for (let iteration = 1; end > 0 && iteration <= ITERATIONS; iteration++) {
    let begin = end;
    while (begin > 0 && !isSmall(matrix, begin, Number.EPSILON * largest)) begin--;
    if (begin > 0) matrix[begin][begin - 1] = complex(0);
    if (begin === end) {
      end--;
      continue;
    }
    const stuck = iteration % STUCK === 0;
    const shift = stuck ? complex(modulus(matrix[end][end - 1]), largest) : wilkinson(matrix, end);
    for (let place = 0; place < matrix.length; place++) matrix[place][place] = subtract(matrix[place][place], shift);
    const rotations: [number, Rotation][] = [];
    for (let row = begin; row < end; row++) {
      if (modulus(matrix[row][row]) === 0 && modulus(matrix[row + 1][row]) === 0) continue;
      const rotation = rotationOf(matrix[row][row], matrix[row + 1][row]);
      rotateRows(matrix, row, row + 1, rotation);
      matrix[row + 1][row] = complex(0);
      rotations.push([row, rotation]);
    }
    for (const [row, rotation] of rotations) rotateColumns(matrix, row, row + 1, rotation);
    for (let place = 0; place < matrix.length; place++) matrix[place][place] = add(matrix[place][place], shift);
  }
  const found = matrix.map((row, place) => row[place]);
  return found.sort((a, b) => {
    const difference = modulus(b) - modulus(a);
    return Math.abs(difference) > 1e-13 * largest ? difference : b.im - a.im;
  });
}
