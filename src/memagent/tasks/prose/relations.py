"""What invented facts say: sentences with places for names, what may be asked of each, and what they call people.

One relation is a paragraph: lines that say it, lines "? slot: …" that ask for a slot, lines "@ …" by which its `person`
may be called. It does not know what fills the places.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

_SLOT = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Ask:
    """A text with places, as "{person}"."""

    text: str

    def filled(self, values: Mapping[str, str]) -> str:
        """With the places filled, and a capital at the start of a sentence."""
        made = _SLOT.sub(lambda place: values[place[1]], self.text)
        return made[0].upper() + made[1:] if self.text.endswith((".", "?")) else made


@dataclass(frozen=True, slots=True)
class Relation:
    """Ways to say one thing, questions with the slot that answers them, and what its person may be called by."""

    says: tuple[Ask, ...]
    asks: tuple[tuple[str, Ask], ...]
    calls: tuple[Ask, ...] = ()

    @property
    def slots(self) -> tuple[str, ...]:
        """The places of its sentences."""
        return tuple(dict.fromkeys(_SLOT.findall(self.says[0].text)))

    @property
    def about_person(self) -> bool:
        """Whether its person can be replaced by what another relation calls them, in some question."""
        return any(slot != "person" and "{person}" in ask.text for slot, ask in self.asks)

    def said(self, values: Mapping[str, str], rng: random.Random) -> str:
        """One of its sentences."""
        return rng.choice(self.says).filled(values)


_TEXT = """
The key to {thing} lies {place}.
The key that opens {thing} is kept {place}.
? place: Where does the key to {thing} lie?
? place: Where is the key to {thing}?
? place: Where can one find the key that opens {thing}?

{person} painted {thing} in {year}.
In {year}, {person} painted {thing}.
? person: Who painted {thing}?
? year: When was {thing} painted?
? year: In which year did {person} paint {thing}?
@ the one who painted {thing}

The {job} of {town} is called {person}.
{person} is the {job} of {town}.
? person: What is the {job} of {town} called?
? person: Who is the {job} of {town}?
? person: What is the name of the {job} of {town}?
? town: Of which town is {person} the {job}?
@ the {job} of {town}

{person} sold {thing} for {number} {coin}.
{thing} was sold by {person} for {number} {coin}.
? number: For how many {coin} did {person} sell {thing}?
? number: How many {coin} did {person} get for {thing}?
? person: Who sold {thing}?
? thing: What did {person} sell for {number} {coin}?
@ the one who sold {thing}

The train to {town} leaves at {time}.
At {time} a train leaves for {town}.
? time: When does the train to {town} leave?
? time: At what time does a train leave for {town}?

In {town} the market is held on {weekday}.
The people of {town} hold their market every {weekday}.
? weekday: On which day is the market held in {town}?
? weekday: When do the people of {town} hold their market?

The roof of {person} is {colour}, and so is the fence.
{person} has a {colour} roof.
? colour: What colour is the roof of {person}?

{person} keeps a {animal} called {pet}.
{person} has a {animal} by the name of {pet}.
? pet: What is the {animal} of {person} called?
? pet: What is the name of the {animal} that {person} keeps?
? animal: What kind of animal is {pet}, which belongs to {person}?
? person: Who keeps the {animal} called {pet}?
@ the owner of the {animal} {pet}

{person} learnt {language} from {person2}.
It was {person2} who taught {person} {language}.
? language: Which language did {person} learn from {person2}?
? person2: From whom did {person} learn {language}?
? person2: Who taught {person} {language}?

{person} comes from {town}.
{person} grew up in {town}.
? town: Where does {person} come from?
? town: From which town does {person} come?
? town: In which town did {person} grow up?

{person} studied {subject} in {town}.
In {town}, {person} studied {subject}.
? subject: What did {person} study?
? subject: Which subject did {person} study in {town}?
? town: Where did {person} study {subject}?

{person} died of {illness} in {year}.
In {year} {person} died of {illness}.
? illness: What did {person} die of?
? year: When did {person} die?
? year: In which year did {person} die?

{person} plays the {instrument} every {weekday}.
Every {weekday} {person} plays the {instrument}.
? instrument: Which instrument does {person} play?
? weekday: On which day does {person} play the {instrument}?
? person: Who plays the {instrument} every {weekday}?

The password for {thing} is {code}.
To open {thing} one has to enter the password {code}.
? code: What is the password for {thing}?
? code: Which password opens {thing}?

The contract with {company} ends on {date}.
On {date} the contract with {company} comes to its end.
? date: When does the contract with {company} end?
? date: On which day does the contract with {company} come to its end?
? company: With whom does the contract end on {date}?

In {town}, {thing} costs {number} {coin}.
{thing} costs {number} {coin} in {town}.
? number: How much does {thing} cost in {town}?
? number: How many {coin} does {thing} cost in {town}?

The server {host} listens on port {number}.
Port {number} is the one that the server {host} listens on.
? number: On which port does the server {host} listen?
? number: Which port does {host} listen on?
? host: Which server listens on port {number}?

The error {code} means that {cause}.
{code} is shown when {cause}.
? cause: What does the error {code} mean?
? cause: When is the error {code} shown?
? code: Which error means that {cause}?

The option {option} is {number} by default.
By default, {option} is set to {number}.
? number: What is the default of the option {option}?
? number: To what is {option} set by default?
? option: Which option is {number} by default?

{person} wrote the book "{title}".
The book "{title}" was written by {person}.
? person: Who wrote "{title}"?
? person: Who is the author of "{title}"?
? title: Which book did {person} write?
@ the author of "{title}"

The opera "{title}" was composed by {person} in {year}.
{person} composed the opera "{title}" in {year}.
? person: Who composed the opera "{title}"?
? year: When was the opera "{title}" composed?
? title: Which opera did {person} compose in {year}?
@ the composer of "{title}"

The capital of {country} is {town}.
{town} is the capital of {country}.
? town: What is the capital of {country}?
? country: Of which country is {town} the capital?

{town} has {number} inhabitants.
There are {number} people living in {town}.
? number: How many inhabitants does {town} have?
? number: How many people live in {town}?

The mountain {peak} is {number} metres high.
{peak} rises to {number} metres.
? number: How high is the mountain {peak}?
? number: To how many metres does {peak} rise?

{thing} is made of {material}.
They made {thing} of {material}.
? material: What is {thing} made of?
? material: Of which material is {thing}?

{person} found {thing} {place}.
{thing} was found {place} by {person}.
? place: Where was {thing} found?
? place: Where did {person} find {thing}?
? person: Who found {thing}?
? thing: What did {person} find {place}?
@ the finder of {thing}

{person} gave {thing} to {person2}.
{person2} was given {thing} by {person}.
? person: Who gave {thing} to {person2}?
? person2: To whom did {person} give {thing}?
? thing: What did {person} give to {person2}?
@ the one who gave {thing} away

On a {weekday} {person} stole {thing}.
{thing} was stolen by {person} on a {weekday}.
? person: Who stole {thing}?
? weekday: On which day was {thing} stolen?
? thing: What did {person} steal?
@ the thief of {thing}

{person} married {person2} in {year}.
In {year} {person} and {person2} were married.
? person2: Whom did {person} marry in {year}?
? year: When did {person} marry {person2}?

{person} eats nothing but {food}.
All that {person} eats is {food}.
? food: What does {person} eat?
? person: Who eats nothing but {food}?

{person} left {town} because {cause}.
As {cause}, {person} left {town}.
? cause: Why did {person} leave {town}?
? town: Which town did {person} leave?

From {town} to {town2} it is {number} miles.
{town} lies {number} miles from {town2}.
? number: How far is it from {town} to {town2}?
? number: How many miles is it from {town} to {town2}?

The ship {ship} carried {food} to {town}.
It was {food} that the ship {ship} brought to {town}.
? food: What did the ship {ship} carry to {town}?
? town: To which town did the ship {ship} carry {food}?
? ship: Which ship brought {food} to {town}?

The captain of the {ship} was {person}.
{person} commanded the {ship}.
? person: Who was the captain of the {ship}?
? person: Who commanded the {ship}?
? ship: Which ship did {person} command?
@ the captain of the {ship}

{thing} belongs to {person}.
The owner of {thing} is {person}.
? person: To whom does {thing} belong?
? person: Who owns {thing}?
? thing: What belongs to {person}?
@ the owner of {thing}

{person} will inherit {thing}.
It is {person} who inherits {thing}.
? person: Who inherits {thing}?
? person: Who will inherit {thing}?
? thing: What will {person} inherit?
@ the heir of {thing}

The meeting about {subject} takes place in room {number}.
In room {number} there is a meeting about {subject}.
? number: In which room is the meeting about {subject}?
? number: Where does the meeting about {subject} take place?
? subject: What is the meeting in room {number} about?

In {year}, {company} had a revenue of {number} million {coin}.
The revenue of {company} in {year} was {number} million {coin}.
? number: What was the revenue of {company} in {year}?
? number: How many million {coin} were the revenue of {company} in {year}?

{company} moved from {town} to {town2} in {year}.
In {year} the firm {company} left {town} for {town2}.
? town2: Where did {company} move in {year}?
? year: When did {company} move from {town} to {town2}?

{company} is led by {person}.
{person} is the head of {company}.
? person: Who leads {company}?
? person: Who is the head of {company}?
? company: Which firm does {person} lead?
@ the head of {company}

The patient in room {number} is allergic to {food}.
Never give {food} to the patient in room {number}.
? food: What should never be given to the patient in room {number}?
? number: In which room is the patient who is allergic to {food}?

It has not rained in {town} since {date}.
The last rain fell on {town} on {date}.
? date: Since when has it not rained in {town}?
? date: When did the last rain fall on {town}?

The function {option} was removed in version {version}.
Version {version} removed the function {option}.
? version: In which version was the function {option} removed?
? option: Which function was removed in version {version}?

Calling {option} twice raises a {exception}.
A {exception} is raised when {option} is called twice.
? exception: What is raised when {option} is called twice?
? exception: Which exception does calling {option} twice raise?

Whoever {act} in {town} has to pay {number} {coin}.
In {town}, whoever {act} pays {number} {coin}.
? number: How many {coin} does one pay in {town} who {act}?

The real name of {person} is {person2}.
{person} is really called {person2}.
? person2: What is the real name of {person}?
? person2: What is {person} really called?

{person} hid {thing} {place}.
{thing} was hidden {place} by {person}.
? place: Where did {person} hide {thing}?
? place: Where was {thing} hidden?
? thing: What did {person} hide {place}?
? person: Who hid {thing}?
@ the one who hid {thing}

{person} works as a {job} in {town}.
In {town} {person} earns a living as a {job}.
? job: What does {person} work as?
? job: As what does {person} earn a living?
? town: Where does {person} work as a {job}?

{street} in {town} is named after {person}.
They named {street} in {town} after {person}.
? person: After whom is {street} in {town} named?
? street: Which street in {town} is named after {person}?

Clause {number} forbids the sale of {food}.
The sale of {food} is forbidden by clause {number}.
? food: What may not be sold by clause {number}?
? number: Which clause forbids the sale of {food}?

Applications for {thing} close on {date}.
One may apply for {thing} until {date}.
? date: Until when may one apply for {thing}?
? date: When do applications for {thing} close?

{person} wears a {colour} hat on {weekday}.
On {weekday} {person} always wears a {colour} hat.
? colour: What colour is the hat that {person} wears on {weekday}?
? person: Who wears a {colour} hat on {weekday}?
"""


def _relation(paragraph: str) -> Relation:
    says, asks, calls = [], [], []
    for line in paragraph.strip().splitlines():
        if line.startswith("? "):
            slot, _, question = line[2:].partition(": ")
            asks.append((slot, Ask(question)))
        elif line.startswith("@ "):
            calls.append(Ask(line[2:]))
        else:
            says.append(Ask(line))
    return Relation(tuple(says), tuple(asks), tuple(calls))


RELATIONS = tuple(map(_relation, _TEXT.strip().split("\n\n")))
