"""Changes the tags of a run. Every change is also a tag event: who, when, added or removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from metaflow_core.clock import now
from metaflow_core.errors import MetaflowNotFound, MetaflowTaggingError
from metaflow_core.metadata.database import Database
from metaflow_core.metadata.repeating import repeated
from metaflow_core.metadata.run_queries import Tags, run_by_pk, tags_of
from metaflow_core.names import MAX_USER_TAGS, check_tag, show
from metaflow_core.plugins import tell


class TagEvent(NamedTuple):
    """One change: ``action`` is ``added`` or ``removed``, ``at`` microseconds since 1970 in UTC."""

    tag: str
    action: str
    identity: str
    at: int


@repeated
def change_tags(
    db: Database, run_pk: int, add: Iterable[str] = (), remove: Iterable[str] = (), *, identity: str
) -> Tags:
    """Remove tags from a run, then add some, and return the tags that it has afterwards.

    The change is one transaction, so that of many at the same time none is lost. Adding a tag that is there and
    removing one that is not does nothing. ``MetaflowTaggingError``, and no change at all, for what is no tag, for
    removing a system tag, for more user tags than a run may have, and when there is neither anything to add nor to
    remove. Plugins hear of the change through the hook ``tag_changed`` once it is permanent.
    """
    adding = list(dict.fromkeys(check_tag(tag) for tag in add))
    removing = list(dict.fromkeys(check_tag(tag) for tag in remove))
    if not adding and not removing:
        raise MetaflowTaggingError("No tag was given: name at least one tag to add or to remove.")
    with db.transaction(shared=True):
        # Of those that change the tags of one run at the same time, the others wait here.
        db.execute("UPDATE runs SET status = status WHERE pk = ?", (run_pk,))
        if run_by_pk(db, run_pk).status == "removed":
            raise MetaflowNotFound("Garbage collection is removing this run: its tags can't be changed any more.")
        before = tags_of(db, [run_pk])[run_pk]
        fixed = [tag for tag in removing if tag in before.system]
        if fixed:
            raise MetaflowTaggingError(
                f"System tags can't be removed: {', '.join(map(show, fixed))}. No tag was changed."
            )
        wanted = before.user.difference(removing).union(adding) - before.system
        if len(wanted) > MAX_USER_TAGS and not wanted <= before.user:
            raise MetaflowTaggingError(
                f"A run has at most {MAX_USER_TAGS} user tags: this one has {len(before.user)} and would have "
                f"{len(wanted)}. Remove some first. No tag was changed."
            )
        gone = [tag for tag in removing if tag in before.user and tag not in wanted]
        new = [tag for tag in adding if tag in wanted and tag not in before.user]
        db.executemany("DELETE FROM run_tags WHERE run_pk = ? AND tag = ?", [(run_pk, tag) for tag in gone])
        flow_pk, flow, run = db.execute(
            "SELECT f.pk, f.name, r.id FROM runs r JOIN flows f ON f.pk = r.flow_pk WHERE r.pk = ?", (run_pk,)
        )[0]
        db.executemany(
            "INSERT INTO run_tags (run_pk, tag, flow_pk, is_system) VALUES (?, ?, ?, 0)",
            [(run_pk, tag, flow_pk) for tag in new],
        )
        at = now()
        events = [(tag, "removed") for tag in gone] + [(tag, "added") for tag in new]
        db.executemany(
            "INSERT INTO tag_events (run_pk, tag, action, identity, at) VALUES (?, ?, ?, ?, ?)",
            [(run_pk, tag, action, identity, at) for tag, action in events],
        )
    for tag, action in events:
        event = f"The tag {show(tag)} was {action}"
        tell("tag_changed", event, flow_name=flow, run_id=run, tag=tag, action=action, identity=identity)
    return Tags(frozenset(wanted), before.system)


def tag_events(db: Database, run_pk: int) -> list[TagEvent]:
    """Every change of the run's tags, the oldest first. System tags, which never change, are not among them."""
    rows = db.execute("SELECT tag, action, identity, at FROM tag_events WHERE run_pk = ? ORDER BY pk", (run_pk,))
    return [TagEvent(*row) for row in rows]


def tags_given(db: Database, flow_pk: int) -> dict[str, tuple[int, int, tuple[str, ...]]]:
    """When each tag was first and last added to runs of the flow, and by which identities."""
    found: dict[str, tuple[int, int, tuple[str, ...]]] = {}
    for tag, identity, first, last in db.execute(
        "SELECT e.tag, e.identity, MIN(e.at), MAX(e.at) FROM tag_events e JOIN runs r ON r.pk = e.run_pk"
        " WHERE r.flow_pk = ? AND e.action = 'added' GROUP BY e.tag, e.identity ORDER BY e.tag, e.identity",
        (flow_pk,),
    ):
        begin, end, by = found.get(tag, (first, last, ()))
        found[tag] = (min(begin, first), max(end, last), (*by, identity))
    return found
