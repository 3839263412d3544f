"""Writes the spreadsheet of a chain of schools: three hundred branches, each with its own numbers, hours, prices.

    python examples/branches.py examples/school/branches.xlsx            # or .csv
    python examples/branches.py out.csv --count 20 --seed 7
    python examples/branches.py APP/branches.xlsx --handbooks            # and APP/knowledge: one for each group

The same seed writes the same branches. They are made up.
"""

import argparse
import csv
import random
from pathlib import Path

PLACES = [  # city, country's zone, languages
    ("Porto", "Europe/Lisbon", "pt en"), ("Lisboa", "Europe/Lisbon", "pt en"), ("Braga", "Europe/Lisbon", "pt en"),
    ("Funchal", "Atlantic/Madeira", "pt en"), ("Ponta Delgada", "Atlantic/Azores", "pt en"),
    ("Madrid", "Europe/Madrid", "es en"), ("Sevilla", "Europe/Madrid", "es en"), ("Bilbao", "Europe/Madrid", "es en"),
    ("Las Palmas", "Atlantic/Canary", "es en"), ("São Paulo", "America/Sao_Paulo", "pt en"),
    ("Recife", "America/Recife", "pt en"), ("Manaus", "America/Manaus", "pt"), ("Curitiba", "America/Sao_Paulo", "pt"),
    ("Ciudad de México", "America/Mexico_City", "es en"), ("Tijuana", "America/Tijuana", "es en"),
    ("Bogotá", "America/Bogota", "es en"), ("Santiago", "America/Santiago", "es"), ("Lima", "America/Lima", "es"),
    ("London", "Europe/London", "en pt es"), ("Dublin", "Europe/Dublin", "en"),
]  # fmt: skip
HANDBOOKS = {  # language -> its text; what differs between branches is a fact of the branch
    "en": "## Visits\n<!-- also: tour, appointment -->\nVisits are on school days and take about an hour.\n\n"
    "## Meals\n<!-- also: lunch, allergies -->\nLunch is cooked at the school. Tell us about allergies.\n\n"
    "## Where we are\n<!-- also: address location -->\nThe school is at {street}.\n\n"
    "## Documents\nTo enrol we need the child's identity card and the last school report.\n",
    "pt": "## Visitas\n<!-- also: marcar, conhecer -->\nAs visitas são em dias de aulas e demoram uma hora.\n\n"
    "## Refeições\n<!-- also: almoço, alergias -->\nO almoço é feito na escola. Diga-nos as alergias.\n\n"
    "## Onde estamos\n<!-- also: morada endereço -->\nA escola fica em {street}.\n\n"
    "## Documentos\nPara a matrícula: documento de identidade da criança e o último boletim.\n",
    "es": "## Visitas\n<!-- also: cita, conocer -->\nLas visitas son en días de clase y duran una hora.\n\n"
    "## Comidas\n<!-- also: almuerzo, alergias -->\nLa comida se hace en la escuela. Díganos las alergias.\n\n"
    "## Dónde estamos\n<!-- also: dirección ubicación -->\nLa escuela está en {street}.\n\n"
    "## Documentos\nPara inscribir: documento de identidad del niño y el último boletín.\n",
}
STREETS = ("Rua das Flores", "Avenida Central", "Calle Mayor", "High Street", "Rua do Sol", "Paseo del Río")
OFFICE = ("Mon-Fri 08:00-17:00", "Mon-Fri 08:30-12:30 14:00-18:00", "Mon-Fri 09:00-18:00; Sat 09:00-12:00")
VISITS = ("Mon-Fri 09:00-12:00", "Tue,Thu 10:00-16:00", "Mon-Fri 10:00-12:00 15:00-17:00; Sat 10:00-12:00")
COLUMNS = [
    "id", "name", "timezone", "languages", "address.whatsapp", "address.webchat", "address.email", "office_hours",
    "visit_hours", "visit_minutes", "visits_at_once", "closed", "handbook", "fact.street", "fact.phone",
    "fact.monthly_fee", "scope.calendar", "scope.crm", "team", "role.desk", "role.viewer",
]  # fmt: skip


def rows(count: int, seed: int, scopes: bool = True, handbooks: bool = False) -> list[list[str]]:
    chance = random.Random(seed)
    left_out = ((not scopes and "scope.") or "-", (not handbooks and "handbook") or "-")
    made = [[column for column in COLUMNS if not column.startswith(left_out)]]
    for number in range(count):
        city, zone, languages = PLACES[number % len(PLACES)]
        plain = "".join(
            c for c in city.lower().translate(str.maketrans("áãéíóúç ", "aaeiouc-")) if c.isalnum() or c == "-"
        )
        name = f"{plain}-{number // len(PLACES) + 1:02d}"
        closed = sorted({f"2027-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}" for _ in range(3)})
        values = {
            "id": name,
            "name": f"Colégio {city} {number // len(PLACES) + 1}",
            "timezone": zone,
            "languages": languages,
            "address.whatsapp": str(100_000_000_000_000 + number * 977 + seed),
            "address.webchat": name,
            "address.email": f"{name}@school.example",
            "office_hours": chance.choice(OFFICE),
            "visit_hours": chance.choice(VISITS),
            "visit_minutes": str(chance.choice((30, 45, 60))),
            "visits_at_once": str(chance.choice((1, 1, 2, 3))),
            "closed": " ".join(closed),
            "handbook": group(zone),
            "fact.street": f"{chance.choice(STREETS)} {chance.randint(1, 250)}",
            "fact.phone": f"+351 2{chance.randint(10_000_000, 99_999_999)}",
            "fact.monthly_fee": str(chance.randrange(290, 990, 10)),
            "scope.calendar": f"visits/{name}",
            "scope.crm": str(1000 + number),
            "team": f"lead@{name}.example office@{name}.example",
            "role.desk": f"lead@{name}.example; office@{name}.example",
            "role.viewer": f"Head of {group(zone)} <head@{group(zone)}.example>",
        }
        made.append([values[column] for column in made[0]])
    return made


def group(zone: str) -> str:
    """Branches of one time zone share a handbook."""
    return zone.partition("/")[2].lower().replace("_", "-")


def write_handbooks(folder: Path) -> int:
    """knowledge/<group>.<language>.md. Returns how many."""
    folder.mkdir(exist_ok=True)
    texts = {
        f"{group(zone)}.{language}.md": HANDBOOKS[language]
        for _, zone, languages in PLACES
        for language in languages.split()
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return len(texts)


def write(path: Path, table: list[list[str]]) -> None:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as opened:
            csv.writer(opened, delimiter=";").writerows(table)
        return
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "branches"
    for row in table:
        sheet.append(row)
    for cells in sheet.iter_rows():
        for cell in cells:
            cell.number_format = "@"  # text: Excel keeps 15 digits of a number
    sheet.freeze_panes = "B2"
    book.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-scopes", action="store_true", help="without the columns of connectors")
    parser.add_argument("--handbooks", action="store_true", help="and knowledge/*.md beside it")
    given = parser.parse_args()
    write(given.path, rows(given.count, given.seed, not given.no_scopes, given.handbooks))
    print(f"{given.path}: {given.count} branches")
    if given.handbooks:
        print(f"{given.path.parent / 'knowledge'}: {write_handbooks(given.path.parent / 'knowledge')} handbooks")


if __name__ == "__main__":
    main()
