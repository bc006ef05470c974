// What the page keeps, and what passes between its files. Times are seconds, sizes pixels, dates milliseconds since 1970.

export type MediaKind = "image" | "video";

/** A picture or clip that a message shows. The bytes lie in the store under `blob`. */
export interface Attachment {
  id: string;
  kind: MediaKind;
  name: string;
  type: string; // media type
  blob: string; // key in the store
  bytes: number;
  width: number; // as shown, after EXIF orientation; 0 where the browser cannot decode it
  height: number;
  duration: number; // of a clip, else 0
  options: MediaOptions;
  /** Frames that the browser took, where the server lacks the codec: keys in the store, and their times. */
  frames?: { blob: string; time: number }[];
}

/** Zero: the model's own value. */
export interface MediaOptions {
  maxPixels: number;
  fps: number;
  start: number;
  end: number;
}

/** What the server says it did with a picture or clip ("qvl.media" of a reply). */
export interface SeenMedia {
  kind: MediaKind;
  original: [number, number]; // width, height
  used: [number, number];
  tokens: number;
  frames?: number;
  times?: number[];
  duration_s?: number;
  reused_tokens?: number;
}

export interface Usage {
  promptTokens: number;
  answerTokens: number;
  cachedTokens: number;
  seconds: { media: number; vision: number; prefill: number; generate: number; first: number };
}

export type Role = "user" | "assistant";

/** A conversation is a tree: editing a question or asking for another answer begins a branch. */
export interface Turn {
  id: string;
  parent: string | null;
  role: Role;
  text: string;
  reasoning: string;
  attachments: Attachment[];
  task: string; // id of the task mode that the question was asked in
  made: number;
  // of an answer
  seen?: SeenMedia[];
  usage?: Usage;
  finish?: string; // "stop", "length", "cancelled"
  error?: string;
}

export interface Conversation {
  id: string;
  title: string;
  made: number;
  changed: number;
  turns: Turn[];
  leaf: string | null; // the last turn of the branch that is shown
}

export interface Settings {
  language: "auto" | "en" | "zh";
  theme: "auto" | "light" | "dark";
  system: string;
  temperature: number | null; // null: the model's own
  topP: number | null;
  maxTokens: number | null;
  key: string; // of the server, kept for this tab only
}

/** How far the server is with a request. */
export interface Progress {
  stage: "upload" | "media" | "queue" | "vision" | "prefill" | "generate";
  done: number;
  total: number;
  since: number; // when the stage began, by performance.now()
}

/** A box or point in an answer, in thousandths of the picture's width and height. */
export interface Mark {
  index: number; // among the marks of the answer
  picture: number; // index among the pictures of the question
  label: string;
  box: [number, number, number, number]; // a point is a box without extent
  begin: number; // where it stands in the text
  end: number;
}

/** A time in an answer. */
export interface Moment {
  seconds: number;
  until: number | null;
  label: string; // the line it stands in
  begin: number;
  end: number;
}
