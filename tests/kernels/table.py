"""What one kernel's guest reported, counted: for people, and as a row of a table."""

import collections


class Summary:
    """The outcomes of a guest's tests by part, and the reasons of what did not pass."""

    def __init__(self, name, reported, trouble):
        self.name, self.trouble = name, trouble
        self.facts, self.parts, self.died = {}, [], []
        self.outcomes = {}
        self.reasons = collections.defaultdict(list)
        self.texts = {}
        for kind, value in reported:
            getattr(self, f"hear_{kind}")(value)

    def hear_fact(self, value):
        self.facts[value[0]] = value[1]

    def hear_part(self, value):
        self.parts.append(value)

    def hear_died(self, value):
        self.died.append(value)

    def hear_end(self, value):
        self.facts["seconds left"] = value

    def hear_test(self, value):
        test, when, outcome, _, text = value
        # An error of the clean-up counts, also after a test that passed.
        if outcome == "failed" or test not in self.outcomes:
            self.outcomes[test] = outcome
        if outcome != "passed":
            reason = first_error(text) if outcome == "failed" else text
            self.reasons[outcome, reason].append(f"{test} ({when})")
            self.texts.setdefault((outcome, reason), text)

    def good(self):
        """Did every part end, with nothing that failed?"""
        return (bool(self.parts) and not self.died and not self.trouble
                and all(how == "done" for _, how, _ in self.parts)
                and "failed" not in self.outcomes.values())

    def counts(self):
        """{part: {outcome: number}}"""
        found = collections.defaultdict(collections.Counter)
        for test, outcome in self.outcomes.items():
            found[test.split("/")[1]][outcome] += 1
        return found

    def text(self):
        lines = [f"==== {self.name}"]
        lines += [f"  {name}: {value}" for name, value in self.facts.items()]
        lines += [f"  the kernel said: {line}" for line in self.trouble]
        lines += [f"  {part}: {how}, {seconds} s" for part, how, seconds in self.parts]
        lines += [f"  died: {part}, status {code}, in {test}\n{text}"
                  for part, code, test, text in self.died]
        lines += [f"  {part}: {dict(count)}" for part, count in self.counts().items()]
        for (outcome, reason), tests in self.reasons.items():
            lines.append(f"  {len(tests)} {outcome}: {reason}")
            lines += [f"      {test}" for test in tests[:8]]
            if outcome == "failed":
                lines += [f"      | {line}"
                          for line in self.texts[outcome, reason].splitlines()[-14:]]
        return "\n".join(lines)


def first_error(text):
    """The line that pytest marks, else the last."""
    lines = text.splitlines() or [""]
    return next((line for line in lines if line.startswith("E ")), lines[-1])[:160]
