// A conversation's branches. Editing a question, or asking for another answer, adds a sibling; what is shown is the path from
// the first turn to `leaf`.
import type { Conversation, Turn } from "./types";

export function pathTo(conversation: Conversation, leaf: string | null): Turn[] {
  const byId = new Map(conversation.turns.map((turn) => [turn.id, turn]));
  const out: Turn[] = [];
  for (let at = leaf ? byId.get(leaf) : undefined; at; at = at.parent ? byId.get(at.parent) : undefined) out.unshift(at);
  return out;
}

export function siblings(conversation: Conversation, turn: Turn): Turn[] {
  return conversation.turns.filter((one) => one.parent === turn.parent);
}

/** The newest end below a turn. */
export function newestLeaf(conversation: Conversation, turn: Turn): string {
  let at = turn;
  for (;;) {
    const below = conversation.turns.filter((one) => one.parent === at.id);
    const last = below[below.length - 1];
    if (!last) return at.id;
    at = last;
  }
}

export function titleOf(text: string): string {
  const line = text.trim().split("\n")[0] ?? "";
  return [...line].length > 48 ? `${[...line].slice(0, 47).join("")}…` : line;
}

export function toMarkdown(conversation: Conversation): string {
  const parts = pathTo(conversation, conversation.leaf).map((turn) => {
    const media = turn.attachments.map((a) => `*[${a.kind}: ${a.name.replace(/[\\`*_[\]<>\n]/g, " ")}]*\n\n`).join("");
    return `## ${turn.role === "user" ? "User" : "Assistant"}\n\n${media}${turn.text.trim()}\n`;
  });
  return `# ${conversation.title}\n\n${parts.join("\n")}`;
}
