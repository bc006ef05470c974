// How large the model sees a picture or clip, and what that costs. The rules are the reference processor's: sides become
// multiples of 32, within bounds of pixels; a token stands for 32 x 32 pixels, of a clip for those of two frames.

const FACTOR = 32;

/** What the model's processor is set to; the server tells it. */
export interface Bounds {
  image: { minPixels: number; maxPixels: number };
  video: { minPixels: number; maxPixels: number; fps: number; minFrames: number; maxFrames: number }; // pixels of all frames
}

/** The published settings. */
export const BOUNDS: Bounds = {
  image: { minPixels: 65536, maxPixels: 16777216 },
  video: { minPixels: 4096, maxPixels: 25165824, fps: 2, minFrames: 4, maxFrames: 768 },
};

/** Half to even, as Python rounds. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

export interface Size {
  width: number;
  height: number;
}

/** Width and height within [minPixels, maxPixels], for n frames together. */
export function fit(width: number, height: number, minPixels: number, maxPixels: number, frames = 1): Size {
  let h = Math.max(FACTOR, roundEven(height / FACTOR) * FACTOR);
  let w = Math.max(FACTOR, roundEven(width / FACTOR) * FACTOR);
  if (frames * h * w > maxPixels) {
    const beta = Math.sqrt((frames * height * width) / maxPixels);
    h = Math.max(FACTOR, Math.floor(height / beta / FACTOR) * FACTOR);
    w = Math.max(FACTOR, Math.floor(width / beta / FACTOR) * FACTOR);
  } else if (frames * h * w < minPixels) {
    const beta = Math.sqrt(minPixels / (frames * height * width));
    h = Math.ceil((height * beta) / FACTOR) * FACTOR;
    w = Math.ceil((width * beta) / FACTOR) * FACTOR;
  }
  return { width: w, height: h };
}

/** What a picture becomes; maxPixels 0: the model's own bound. */
export function pictureSize(width: number, height: number, maxPixels: number, bounds: Bounds): Size & { tokens: number } {
  const most = maxPixels || bounds.image.maxPixels;
  const size = fit(width, height, Math.min(bounds.image.minPixels, most), most);
  return { ...size, tokens: (size.width * size.height) / (FACTOR * FACTOR) };
}

/** How many frames of `seconds` of a clip are looked at; fps 0: the model's own. */
export function frameCount(seconds: number, fps: number, bounds: Bounds): number {
  const n = Math.floor(seconds * (fps || bounds.video.fps));
  const bounded = Math.min(Math.max(n, bounds.video.minFrames), bounds.video.maxFrames);
  return bounded + (bounded % 2);
}

export function clipSize(width: number, height: number, seconds: number, fps: number, maxPixels: number, bounds: Bounds) {
  const frames = frameCount(seconds, fps, bounds);
  const most = maxPixels ? Math.min(bounds.video.maxPixels, frames * maxPixels) : bounds.video.maxPixels;
  const size = fit(width, height, Math.min(bounds.video.minPixels, most), most, frames);
  const perPair = (size.width * size.height) / (FACTOR * FACTOR);
  return { ...size, frames, tokens: (frames / 2) * perPair };
}

/** Tokens a second in which this server looks at pictures and reads prompts. */
export interface Pace {
  visionTokens: number;
  promptTokens: number;
  isGuess: boolean; // nothing was measured with this model yet
}

export function secondsFor(tokens: number, pace: Pace): number {
  return tokens / pace.visionTokens + tokens / pace.promptTokens;
}
