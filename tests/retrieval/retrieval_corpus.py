"""The only place for the shop's documents in the tests, and for questions with their answers."""

from __future__ import annotations

RETURNS = """\
# Returns

This page tells our staff how to handle parcels that come back.

## Return window

An unworn item can be returned within 30 days of delivery. During the holiday season, purchases
made from 15 November to 24 December may come back until 31 January.

## Condition of the goods

Shoes must be unworn, with the original box. Electronics must be complete, with cables and manual,
and wiped of personal data. Perishable food, cut fabric and opened cosmetics are excluded.

## Refunds

### Timing

We pay the money back within 5 working days after the parcel reaches the warehouse. Banks may take
another 3 days to show it.

### Method

The refund goes to the card or account that was charged. Cash purchases are refunded by transfer.

### Limits

A desk clerk may refund up to 50 EUR alone. Anything above needs a second signature from a
supervisor.

## Damaged on arrival

Take a photo of the broken parcel before unpacking. We replace it or give the full price back, and
the customer pays no postage.
"""

SHIPPING = """\
<!doctype html><html><head><title>Shipping</title><style>p {color: red}</style></head><body>
<h1>Shipping</h1>
<h2>Carriers and prices</h2>
<table><tr><th>Service</th><th>Days</th><th>Price</th></tr>
<tr><td>Standard</td><td>3 to 5</td><td>4.90 EUR</td></tr>
<tr><td>Express courier</td><td>1</td><td>12.50 EUR</td></tr></table>
<h2>Abroad</h2>
<p>We deliver to all countries of the European Union and to Switzerland. Customs duties for
Switzerland are paid by the receiver.</p>
<h2>Lost parcels</h2>
<p>A parcel that has not moved for ten days counts as lost. Open a trace with the carrier using
form TR-47B, then send a replacement.</p>
<script>alert("not for reading")</script></body></html>
"""

WARRANTY = """\
# Warranty

## Duration

Household appliances carry a guarantee of 24 months. Batteries are covered for 6 months only.

## What is not covered

Damage by dropping, water or opening the housing ends the guarantee.

## Repairs

A technician looks at the device first. If the repair would cost more than the appliance is worth,
the customer gets a new one.
"""

GIFT_CARDS = """\
# Gift cards

## Validity

A gift card is valid for three years from the end of the year in which it was bought.

## Messages at the till

### GC-1107

The card was never activated.

### GC-2210

The balance of the card is used up.

### GC-3050

The card was reported stolen.

## Exchange for cash

Gift cards are not exchanged for cash, except for a remaining balance below 1 EUR.
"""

PRIVACY = """\
We keep order data for ten years, because tax law demands it. Newsletters are sent only to people
who asked for them.

A customer who wants to know what we hold about them gets an answer within one month. The request
goes to the data protection officer, Ms. Okafor.

Recordings of telephone calls are erased after 90 days.
"""

FAULTS = {
    "F-0113": "The water tank is empty. Fill it and press start.",
    "F-0131": "The water tank is missing. Put it in and press start.",
    "F-0217": "The grinder is blocked. Empty the bean container and press start.",
    "F-0271": "The grinder is too hot. Wait for ten minutes and press start.",
    "F-0315": "The drip tray is full. Empty it and press start.",
    "F-0351": "The drip tray is missing. Put it in and press start.",
    "F-0419": "The brewing group is dirty. Rinse it and press start.",
    "F-0491": "The brewing group is missing. Put it in and press start.",
    "F-0713": "The milk hose is blocked. Rinse it and press start.",
    "F-0731": "The milk hose is missing. Put it in and press start.",
}
COFFEE_MACHINE = "# Coffee machine\n\n" + "\n".join(
    f"## Display shows {code}\n\n{text}\n" for code, text in FAULTS.items()
)

DOCUMENTS = {
    "returns_handbook.md": RETURNS,
    "shipping.html": SHIPPING,
    "warranty.md": WARRANTY,
    "gift-cards.md": GIFT_CARDS,
    "privacy.txt": PRIVACY,
    "coffee_machine.md": COFFEE_MACHINE,
}

# A question as people ask it, and words of the passage that answers it.
QUESTIONS = [
    ("Until when can I return something I have not worn?", "within 30 days of delivery"),
    ("When does my money arrive after you got the parcel back?", "within 5 working days"),
    ("Where does the refund go if I paid by card?", "card or account that was charged"),
    ("What amount may a clerk refund without a supervisor?", "up to 50 EUR alone"),
    ("My parcel arrived broken, what should I do?", "Take a photo of the broken parcel"),
    ("Can I return opened cosmetics?", "opened cosmetics are excluded"),
    ("How much is express delivery?", "Express courier"),
    ("Do you ship to Switzerland and who pays customs?", "Customs duties for"),
    ("What do we do when a parcel is lost?", "counts as lost"),
    ("How long is the guarantee on batteries?", "Batteries are covered for 6 months"),
    ("Does the warranty cover water damage?", "Damage by dropping, water"),
    ("For how many years is a gift card valid?", "valid for three years"),
    ("What does GC-2210 mean?", "balance of the card is used up"),
    ("Can a gift card be paid out in cash?", "not exchanged for cash"),
    ("When are phone call recordings deleted?", "Recordings of telephone calls"),
    ("Why does the till show GC-3050?", "reported stolen"),
    ("The till says GC-1107, what is wrong with the gift card?", "never activated"),
    ("Which form is TR-47B?", "form TR-47B"),
    ("My toaster fell on the floor, is it still under guarantee?", "Damage by dropping"),
    ("How soon will I be reimbursed?", "within 5 working days"),
    ("The display of my coffee machine shows F-0731", "milk hose is missing"),
    ("How do I fix the fault F-0217?", "grinder is blocked"),
    ("F-0491 on the display: what now?", "brewing group is missing"),
    ("How long do you keep order data?", "order data for ten years"),
]
