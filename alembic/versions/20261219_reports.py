"""Adds the figures of calls that reports add up, and columns of analyses that reports and filters read.

Every process fills the figures of calls that have none (app/jobs/upkeep/search_filling.py).
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "20261219"
down_revision = "20261218"

SECONDS = ("speech_seconds", "silence_seconds", "hold_seconds", "longest_hold", "longest_hold_start")
SHARES = ("first_interruption_start", "agent_share", "agent_words_per_minute", "agent_response_seconds")
COUNTS = ("holds", "longest_hold_turn", "interruptions", "first_interruption_turn")
SHARE = """coalesce(
    jsonb_path_query_first(judgement, '$.sentiment.sides[*] ? (@.speaker like_regex "^customer$" flag "i")'),
    jsonb_path_query_first(judgement, '$.sentiment ? (@.sides.size() == 1).sides[0]')
) #>> '{{shares,{mood}}}'"""
COMPUTED = (
    ("category_names", postgresql.JSONB(), "jsonb_path_query_array(categories, '$[*] ? (@.sure == true).name')"),
    ("scorecards", postgresql.JSONB(), "jsonb_path_query_array(scores, '$[*] ? (@.possible > 0).scorecard')"),
    ("points", postgresql.JSONB(), "jsonb_path_query_array(scores, '$[*] ? (@.possible > 0).points')"),
    ("possible", postgresql.JSONB(), "jsonb_path_query_array(scores, '$[*] ? (@.possible > 0).possible')"),
    ("intent_name", sa.Text(), "judgement #>> '{intent,value}'"),
    ("is_resolved", sa.Boolean(), "(judgement #>> '{resolved,value}')::boolean"),
    ("mood", sa.REAL(), f"({SHARE.format(mood='positive')})::real - ({SHARE.format(mood='negative')})::real"),
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "call_facts",
        sa.Column(
            "transcription_id", sa.Uuid(), sa.ForeignKey("transcription.id", ondelete="CASCADE"), primary_key=True
        ),
        *(sa.Column(name, sa.REAL(), nullable=True) for name in (*SECONDS, *SHARES)),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in COUNTS),
        sa.Column("keywords", postgresql.ARRAY(sa.Text()), nullable=False),
        postgresql_with={"toast_tuple_target": 128},
    )
    for name, kind, expression in COMPUTED:
        op.add_column("analysis", sa.Column(name, kind, sa.Computed(expression, persisted=True), nullable=True))
    op.create_index("analysis_categories", "analysis", ["category_names"], postgresql_using="gin")
    op.create_index("analysis_scorecards", "analysis", ["scorecards"], postgresql_using="gin")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("analysis_scorecards", "analysis")
    op.drop_index("analysis_categories", "analysis")
    for name, _, _ in reversed(COMPUTED):
        op.drop_column("analysis", name)
    op.drop_table("call_facts")
