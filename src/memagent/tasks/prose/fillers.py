"""What is told of in invented facts: people, towns, things, numbers. It does not know what is told of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping

# A kind a line, its values parted by semicolons; an indented line goes on with the one before.
_TEXT = """
first: Ada; Alma; Anselm; Arthur; Beatrice; Bruno; Carl; Cecily; Clara; Conrad; Daniel; Dora; Edgar; Edith; Elias;
  Emma; Felix; Flora; Frank; George; Gerda; Grace; Greta; Harold; Helen; Hugo; Ida; Irene; Ivan; Jacob; Jane; Joseph;
  Julia; Karl; Laura; Leo; Lydia; Marcus; Martha; Max; Miriam; Nora; Oscar; Otto; Paula; Peter; Rachel; Robert; Rosa;
  Ruth; Samuel; Sophie; Stella; Thomas; Ursula; Victor; Walter; Wanda
last: Abbott; Ahlgren; Aldous; Barlow; Beck; Berger; Blythe; Brandt; Carver; Castell; Cole; Crane; Dahl; Dexter;
  Drake; Egan; Ellery; Engel; Falk; Farrow; Fisk; Gale; Garrick; Greer; Hale; Hardt; Holm; Ingram; Janssen; Keller;
  Kirby; Lang; Larkin; Lind; Maddox; Marsh; Meyer; Moran; Nash; Novak; Olin; Orwin; Paget; Pell; Quist; Ramsey; Reyes;
  Rook; Sander; Sharp; Stein; Tate; Thorn; Ullman; Vance; Voss; Webb; Winter; Yates; Zeller
front: Ash; Birk; Black; Bram; Cald; Dun; East; Elm; Fair; Glen; Har; Ken; Lang; Mill; North; Oak; Ox; Rad; Red; Sax;
  Stan; Thorn; West; Wood
back: borough; bridge; bury; by; combe; dale; den; field; ford; gate; ham; hurst; leigh; mere; mouth; port; stead;
  ton; wick; worth
adjective: big; blue; brass; broken; carved; copper; cracked; dusty; empty; faded; golden; green; grey; heavy; hidden;
  iron; ivory; large; last; little; lost; narrow; new; old; painted; plain; red; rusty; second; sealed; silver; small;
  square; striped; third; torn; upper; white; wooden; yellow
noun: barn; basket; bell-tower; boat; bottle; box; cabin; cart; chair; chapel; chest; clock; coat; crown; cup; desk;
  diary; door; drum; engine; flag; fountain; garden; gate; harp; helmet; house; kettle; ladder; lamp; ledger; letter;
  lock; machine; map; mask; medal; mirror; necklace; orchard; organ; painting; parcel; pearl; piano; quilt; ring;
  saddle; safe; shield; statue; stove; sword; table; telescope; tent; trunk; tunnel; vase; violin; wagon; watch; well;
  window
place: under the third stair; behind the stove; in the left drawer of the desk; on top of the wardrobe; beneath the
  old oak; inside the grandfather clock; at the bottom of the well; between two loose bricks; in the pocket of a
  winter coat; under the altar; behind the portrait of the general; in a jar of salt; on the roof of the stable; at
  the end of the pier; in the cellar of the inn; under a heap of straw; in the hollow of a tree; behind the waterfall;
  on the second shelf; in the captain's cabin; among the roses; next to the railway; in the attic; under the carpet in
  the hall
cause: the river had frozen; nobody had paid the rent; the disk is full; the harvest had failed; the bridge was washed
  away; the connection was closed too early; there was no work left; the winters were too long; a letter had come from
  home; the well had run dry; the file is locked by someone else; the doctor had ordered it; the war was over; the
  roof had fallen in; the key does not match; the ship had sunk; the soil was poor; the mine had closed; the clock had
  stopped
animal: dog; cat; parrot; goat; pony; raven; tortoise; ferret; hedgehog; canary
pet: Biscuit; Captain; Clover; Domino; Ginger; Juno; Marble; Mitten; Nutmeg; Pepper; Pilot; Rufus; Shadow; Tinker;
  Whisper
colour: blue; dark green; bright red; yellow; grey; black; white; purple; orange; pale pink; brown
weekday: Monday; Tuesday; Wednesday; Thursday; Friday; Saturday; Sunday
month: January; February; March; April; May; June; July; August; September; October; November; December
language: Arabic; Basque; Danish; Finnish; Greek; Hebrew; Hindi; Irish; Latin; Persian; Polish; Russian; Swahili;
  Turkish; Welsh
subject: law; medicine; botany; music; geology; chemistry; theology; history; astronomy; engineering; old coins; river
  fish; the grammar of dead languages
job: baker; blacksmith; doctor; judge; librarian; mayor; miller; notary; postman; priest; schoolteacher; tailor
illness: cholera; a fever; smallpox; old age; a broken heart; pneumonia; typhus; an infected wound
instrument: accordion; cello; clarinet; flute; guitar; lute; oboe; organ; trumpet; viola; zither
material: oak; brass; pure silver; marble; cast iron; walnut; ivory; glass; clay; copper; whalebone; bamboo
food: barley; salted herring; goat cheese; walnuts; rye bread; pickled plums; oranges; lentils; smoked eel; honey;
  mushrooms; turnips; almonds; dried apples
coin: pounds; dollars; guilders; francs; crowns; ducats
country: Arvenia; Bolgrad; Caldovia; Estmark; Fenland; Galdora; Illmark; Norvalia; Ostrava; Pelagonia; Sundria;
  Tarnovia
exception: TimeoutError; ValueError; StateError; OverflowError; AccessDenied; ParseError; LockedError; NotReadyError
street: Mill Lane; Harbour Street; Castle Road; Station Square; Orchard Row; Chapel Hill; Bridge Street; Tanner's Yard
act: feeds the swans; crosses the yard at night; brings a dog; loses the ticket; rings the bell twice; speaks during
  the meal; fishes without a licence
verb: open; close; load; save; merge; parse; render; resolve; retry; scan; sync; trim; update; verify; watch
what: buffer; cache; channel; config; frame; index; journal; packet; queue; record; session; stream; table; token;
  worker
ship: Albatross; Amity; Bounty; Concord; Daphne; Endeavour; Fortune; Halcyon; Kestrel; Meridian; Nautilus; Petrel;
  Sirius
title: Autumn; Bridges; Candles; Distance; Embers; Feathers; Gardens; Hours; Islands; Lanterns; Mirrors; Oceans; Rain;
  Shadows
of: the North; my Father; Glass; Winter; the Last King; Salt; a Quiet Town; the Moon; Strangers; Stone
"""
_WORDS: Mapping[str, list[str]] = {
    kind: values.split("; ")
    for kind, _, values in (line.partition(": ") for line in re.sub(r"\n +", " ", _TEXT.strip()).split("\n"))
}


class Fillers:
    """Draws values for slots by their kinds; none is drawn twice for one problem while there are others."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._drawn: set[str] = set()

    def all(self, slots: Iterable[str]) -> dict[str, str]:
        """A value for each slot; `person2` is of the kind `person`."""
        return {slot: self._new(slot.rstrip("0123456789")) for slot in slots}

    def _new(self, kind: str) -> str:
        for _ in range(20):
            value = self._value(kind)
            if value not in self._drawn:
                break
        self._drawn.add(value)
        return value

    def _value(self, kind: str) -> str:
        if kind in _WORDS:
            return self._rng.choice(_WORDS[kind])
        return _MADE[kind](self._rng)


def _number(rng: random.Random) -> str:
    top = rng.choice((30, 100, 1_000, 10_000, 100_000))
    number = rng.randint(2, top)
    return f"{number:,}" if rng.random() < 0.5 else str(number)


def _date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.choice(_WORDS["month"]), rng.randint(1890, 2029)
    return rng.choice((f"{day} {month} {year}", f"{month} {day}, {year}", f"{day} {month}"))


def _code(rng: random.Random) -> str:
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    return f"{letters}-{rng.randint(10, 9999)}"


_MADE: Mapping[str, Callable[[random.Random], str]] = {
    "person": lambda rng: f"{rng.choice(_WORDS['first'])} {rng.choice(_WORDS['last'])}",
    "town": lambda rng: rng.choice(_WORDS["front"]) + rng.choice(_WORDS["back"]),
    "thing": lambda rng: f"the {rng.choice(_WORDS['adjective'])} {rng.choice(_WORDS['noun'])}",
    "year": lambda rng: str(rng.randint(1500, 2024)),
    "number": _number,
    "date": _date,
    "code": _code,
    "time": lambda rng: f"{rng.randint(1, 12)}:{rng.randrange(0, 60, 5):02d} {rng.choice(('a.m.', 'p.m.'))}",
    "option": lambda rng: f"{rng.choice(_WORDS['verb'])}_{rng.choice(_WORDS['what'])}",
    "host": lambda rng: f"{rng.choice(_WORDS['what'])}-{rng.randint(1, 40)}",
    "version": lambda rng: f"{rng.randint(1, 9)}.{rng.randint(0, 20)}",
    "company": lambda rng: f"{rng.choice(_WORDS['last'])} & {rng.choice(('Sons', 'Partners', 'Co.'))}",
    "title": lambda rng: f"{rng.choice(_WORDS['title'])} of {rng.choice(_WORDS['of'])}",
    "peak": lambda rng: f"{rng.choice(_WORDS['front'])}horn",
}
KINDS = frozenset({*_WORDS, *_MADE})
