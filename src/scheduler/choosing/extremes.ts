/** The lowest and the highest of values that come and go. What is not finite does not count. */
export class Extremes {
  lowest = Number.POSITIVE_INFINITY
  highest = Number.NEGATIVE_INFINITY
  #atLowest = 0
  #atHighest = 0

  /** False: the last value at one end has gone, and nobody knows the next one. */
  get isKnown(): boolean {
    return this.#atLowest > 0 && this.#atHighest > 0
  }

  forget(): void {
    this.lowest = Number.POSITIVE_INFINITY
    this.highest = Number.NEGATIVE_INFINITY
    this.#atLowest = 0
    this.#atHighest = 0
  }

  add(value: number): void {
    // Of what is not finite the difference is NaN.
    if (value - value !== 0) return
    if (value <= this.lowest) {
      this.#atLowest = value === this.lowest ? this.#atLowest + 1 : 1
      this.lowest = value
    }
    if (value >= this.highest) {
      this.#atHighest = value === this.highest ? this.#atHighest + 1 : 1
      this.highest = value
    }
  }

  remove(value: number): void {
    if (value - value !== 0) return
    if (value === this.lowest) this.#atLowest--
    if (value === this.highest) this.#atHighest--
  }
}
