/** As much of a `<video>` as the player touches. It plays by itself, silently, as those that sources make. */
export class FakeVideo extends EventTarget {
  muted = true;
  volume = 1;
  paused = false;
  ended = false;
  seeking = false;
  videoWidth = 640;
  videoHeight = 360;
  removed = false;
  async play(): Promise<void> {
    this.paused = false;
  }
  pause(): void {
    this.paused = true;
  }
  remove(): void {
    this.removed = true;
  }
  get element(): HTMLVideoElement {
    return this as unknown as HTMLVideoElement;
  }
}
