// Runs on the audio thread of a page: hears beeps to three milliseconds, however busy the page itself is.

/** Becomes the text of a module; must not refer to anything outside of itself. */
function ear() {
  /** Two render quanta: five periods of the beep. */
  const WINDOW = 256;
  /** Between two beeps, in seconds: one that fades is heard twice. */
  const APART = 0.3;
  /** Of the quanta of this many seconds the one that was rendered earliest says how the two clocks lie. */
  const CLOCK_SECONDS = 1;

  registerProcessor('ear', class extends AudioWorkletProcessor {
    constructor() {
      super();
      this.window = new Float32Array(WINDOW);
      this.beeping = false;
      this.heard = -APART;
      this.lags = [Infinity, Infinity];
      this.turned = 0;
    }

    /** Goertzel at 1 kHz against the whole energy: the beep stands out of the 440 Hz bed. */
    hearsBeep() {
      const k = 2 * Math.cos((2 * Math.PI * 1000) / sampleRate);
      let [a, b, energy] = [0, 0, 0];
      for (const value of this.window) {
        [a, b] = [value + k * a - b, a];
        energy += value * value;
      }
      const mean = energy / WINDOW;
      return (2 * (a * a + b * b - k * a * b)) / (WINDOW * WINDOW) > 0.25 * mean && mean > 4e-4;
    }

    process([input]) {
      if (currentTime - this.turned > CLOCK_SECONDS) {
        this.lags = [this.lags[1], Infinity];
        this.turned = currentTime;
      }
      this.lags[1] = Math.min(this.lags[1], Date.now() - 1000 * currentTime);
      if (!input[0]) return true;
      this.window.copyWithin(0, 128);
      this.window.set(input[0], WINDOW - 128);
      const beeping = this.hearsBeep();
      // It is in the newer half of the window as soon as it is in the window.
      if (beeping && !this.beeping && currentTime - this.heard > APART) {
        this.heard = currentTime;
        this.port.postMessage(1000 * currentTime + Math.min(...this.lags));
      }
      this.beeping = beeping;
      return true;
    }
  });
}

export const EAR = `(${ear})();`;
