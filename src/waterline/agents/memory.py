"""The talk so far, within a declared length. What is to happen next is kept apart from the talk, so that no shortening
can drop it (a known failure of summaries)."""

from waterline.agents.state import Memory, State

MAX_OPEN = 10
MAX_LINE = 400


def heard_and_said(state: State, heard: str, said: str, limit: int) -> None:
    """One turn more; the oldest lines go first."""
    memory = state.memory
    for who, text in (("U", heard), ("B", said)):
        if text.strip():
            memory.talk.append(f"{who}: {' '.join(text.split())[:MAX_LINE]}")
    while memory.talk and sum(len(line) + 1 for line in memory.talk) > limit:
        memory.talk.pop(0)
        memory.dropped += 1


def keep_open(memory: Memory, question: str) -> None:
    question = " ".join(question.split())[:MAX_LINE]
    if question and question not in memory.open:
        memory.open[:] = [*memory.open, question][-MAX_OPEN:]


def summary(state: State, lines: int = 6) -> str:
    """For a person who takes over: what is known, what is open, what comes next, the last lines."""
    parts = [f"{name}: {value}" for name, value in state.slots.items()]
    if state.booked_at:
        parts.append(f"booked: {state.booked_at}")
    parts += [f"open question: {question}" for question in state.memory.open]
    parts += [f"remark: {remark}" for remark in state.memory.remarks]
    if state.memory.next_step:
        parts.append(f"next: {state.memory.next_step}")
    if state.memory.dropped:
        parts.append(f"({state.memory.dropped} earlier lines are in the transcript)")
    return "\n".join([*parts, *state.memory.talk[-lines:]])
