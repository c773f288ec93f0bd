"""The only place for the offline provider's word lists: what counts as reading, acting, asking."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of `text` as a set; a list of this length reads best as plain words."""
    return frozenset(text.split())


READING = word_set(
    """get look lookup find search list fetch read show check retrieve query view describe count
    track see compare browse tell give return provide answer calculate compute convert
    estimate measure inspect explain"""
)
"""Verbs of tools that only look; the first verb of a tool's name, else of its description."""

READING_NOUNS = word_set(
    """weather forecast status info information detail details summary report history price quote
    balance availability rate rates time current stock inventory directory catalogue catalog"""
)
"""Nouns which make a tool without any verb (`current_weather`) one that only looks."""

FAMILIES = tuple(
    frozenset(line.split())
    for line in (
        "refund reimburse reimbursement repay",
        "create add schedule book open file raise register plan arrange reserve reservation log",
        "cancel cancellation delete remove drop",
        "send email mail message write notify",
        "update change set modify edit move reschedule adjust rename",
        "close resolve",
        "pay payment transfer charge",
        "reply respond",
        "order buy purchase place",
        "ship dispatch",
        "approve accept",
        "reject decline",
        "start run launch execute trigger",
        "stop halt shutdown",
        "restart reboot",
        "enable activate",
        "disable deactivate",
        "publish post",
        "assign allocate",
        "invite",
        "grant",
        "revoke",
        "submit",
        "archive",
        "upload",
        "merge",
        "deploy",
        "issue",
        "apply",
        "mark",
        "subscribe",
        "unsubscribe",
        "escalate",
        "restock replenish",
        "exchange replace",
        "turn switch",
    )
)
"""Verbs that act; words of one line ask for the same thing."""

ACTING = frozenset(word for family in FAMILIES for word in family)

ACT_NOUNS = {
    "refund": "refund",
    "reimburse": "refund",
    "cancel": "cancellation",
    "book": "booking",
    "reserve": "reservation",
    "pay": "payment",
    "transfer": "transfer",
    "exchange": "exchange",
    "charge": "charge",
}
"""What an act is called once it is told of: "The refund was made"."""

WONDERING = word_set("how whether why what when where which who whom whose")

QUESTION_STARTERS = WONDERING | word_set(
    """is are am was were do does did can could would will should shall may might must has have
    had"""
)

RULING = word_set("how can may might could should must why allowed if do does")
"""Words of questions that ask what is right, not what is the case: fields do not answer them."""

NEGATING = word_set("not never without avoid no nor cannot")

CONDITIONAL = word_set("if unless once provided assuming whenever")

COURTESY = word_set(
    """please kindly hi hello hey ok okay so now then and also just dear thanks thank you the a
    an go ahead help let us lets me we i to can could would will yes sure task todo action
    request robo team there immediately directly first finally next"""
)
"""Words that may stand before an imperative without changing it."""

WISHING = word_set(
    """please want wants wanted need needs ask asks asking request requests requesting should
    must issue process initiate perform give make grant arrange like"""
)
"""Words before a verb that ask for it: "the customer wants a refund", "issue a refund"."""

REPORTING = word_set(
    """did have has had was were already been got received made yesterday says said wrote"""
)
"""Words before a verb which make it a report of what was, never a wish."""

UNKNOWN_OUTCOMES = word_set(
    """tool_timeout timeout unknown effect_unknown outcome_unknown tool_unknown"""
)
"""Error codes after which nobody can say whether the act happened."""

STOPWORDS = word_set(
    """back take takes fast quickly shown apply applies
    a an the this that these those i me my we us our you your he him his she her it its they
    them their of in on at to for from by with about into over under as and or but if then
    than so do does did done doing is are am was were be been being have has had having can
    could may might must shall should will would please what which who whom whose when where
    why how there here any some all each every also just only very too not no nor never tell
    give show let get got want wants need needs like know hello hi hey thanks thank kindly ok
    okay many much long often soon far per via yes s t d re ve ll m up out off again more most
    such own same both between during before after above below one happen happens say says
    it's i'd mean means exactly really possible allowed allow policy policies rule rules"""
)

EQUIVALENTS = {
    "broken": "damage",
    "faulty": "defective",
    "reimbursement": "refund",
    "reimburse": "refund",
    "money": "refund",
    "parcel": "package",
    "voucher": "card",
    "swap": "exchange",
    "abroad": "international",
    "overseas": "international",
    "postage": "shipping",
    "manager": "lead",
    "deadline": "within",
    "fee": "cost",
    "charge": "cost",
    "pay": "cost",
    "unboxed": "opened",
    "unpacked": "opened",
    "guarantee": "warranty",
    "authorise": "approve",
    "authorize": "approve",
    "signs": "approve",
}
"""Everyday equivalents, so that "broken" finds "damaged"; deliberately few."""

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sep sept",
            "october oct",
            "november nov",
            "december dec",
        ),
        start=1,
    )
    for name in names.split()
}

SPELLED = ("one two three four five six", "seven eight nine ten eleven twelve")
NUMBER_WORDS = {word: number for number, word in enumerate(" ".join(SPELLED).split(), start=1)}
