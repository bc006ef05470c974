// The branch of the conversation that is shown. A turn is drawn anew only when it has changed, however many there are.
import { Component } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { shown } from "../state";
import type { Turn } from "../types";
import { AnswerView } from "./AnswerView";
import { QuestionView } from "./QuestionView";

const NEAR = 120; // pixels from the end within which the view follows what is written

interface Props {
  turn: Turn;
  before: Turn | undefined;
}

class TurnView extends Component<Props> {
  override shouldComponentUpdate(next: Props) {
    return next.turn !== this.props.turn || next.before !== this.props.before;
  }

  render({ turn, before }: Props) {
    if (turn.role === "user" || !before) return <QuestionView turn={turn} />;
    return <AnswerView turn={turn} question={before} />;
  }
}

export function Thread() {
  const box = useRef<HTMLDivElement>(null);
  const isFollowing = useRef(true);
  const turns = shown.value;
  const content = useRef<HTMLDivElement>(null);
  useEffect(() => {
    isFollowing.current = true; // a question was sent, or another conversation opened
  }, [turns.length, turns[0]?.id]);
  useEffect(() => {
    const follow = new ResizeObserver(() => {
      const at = box.current;
      if (at && isFollowing.current) at.scrollTop = at.scrollHeight;
    });
    if (content.current) follow.observe(content.current);
    return () => follow.disconnect();
  }, []);
  return (
    <div ref={box} class="thread" role="log" aria-live="off" tabIndex={0}
      onScroll={(e) => {
        const at = e.currentTarget;
        isFollowing.current = at.scrollHeight - at.scrollTop - at.clientHeight < NEAR;
      }}>
      <div ref={content}>
        {turns.map((turn, i) => <TurnView key={turn.id} turn={turn} before={turns[i - 1]} />)}
      </div>
    </div>
  );
}
