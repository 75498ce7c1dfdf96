"""Count the posts that everybody may see: all of them, those of each tag and those of each category."""

from dataclasses import dataclass

from services.posts import text
from services.posts.models import Category, Counter, Post, Tag


@dataclass(frozen=True)
class CountTargets:
    """Where a post is counted: nowhere, unless everybody may see it. Tags are in their folded form."""

    listed: int = 0
    tags: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()


def count_targets(post: Post) -> CountTargets:
    """Return where a post is counted."""
    if post.listed_at is None:
        return CountTargets()
    return CountTargets(1, frozenset(names(post)), frozenset([post.category_id] if post.category_id else []))


def names(post: Post) -> dict[str, str]:
    """Return the names of a post's tags by their folded form."""
    return {text.fold(name): name for name in post.tags}


def count_tags(before: CountTargets, after: CountTargets, tags: dict[str, str]) -> list[int]:
    """Keep the counts of tags, and return the ids of these, which are made where they are new."""
    changes = {tag: (tag in after.tags) - (tag in before.tags) for tag in {*tags, *before.tags, *after.tags}}
    ids = Tag.count(changes, tags)
    return [ids[tag] for tag in tags]


def count(before: CountTargets, after: CountTargets) -> None:
    """Keep the other counts of what a change of a post touches."""
    for category in sorted(before.categories ^ after.categories):
        Category.count(category, 1 if category in after.categories else -1)
    Counter.add_listed_posts(after.listed - before.listed)
