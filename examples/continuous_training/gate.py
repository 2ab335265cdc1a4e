"""The production gate: tag the latest model `production` when it is at least as good as the one in production.

python gate.py
"""

from metaflow import Flow

LIMIT = 400  # grams; a worse model never goes to production

candidate = Flow("TrainFlow").latest_successful_run
current = next(Flow("TrainFlow").runs("production"), None)

if candidate == current:
    print(f"{candidate.pathspec} is in production already")
elif candidate.data.error > min(LIMIT, current.data.error if current else LIMIT):
    candidate.add_tag("rejected")
    print(f"{candidate.pathspec} is rejected: {candidate.data.error:.1f} g")
else:
    if current:
        current.replace_tag("production", "retired")
    candidate.add_tag("production")
    print(f"{candidate.pathspec} goes to production: {candidate.data.error:.1f} g")
