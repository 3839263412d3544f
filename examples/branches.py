"""Writes the spreadsheet of a chain of schools: three hundred branches, each with its own numbers, hours, prices.

    python examples/branches.py examples/school/branches.xlsx            # or .csv
    python examples/branches.py out.csv --count 20 --seed 7

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
STREETS = ("Rua das Flores", "Avenida Central", "Calle Mayor", "High Street", "Rua do Sol", "Paseo del Río")
OFFICE = ("Mon-Fri 08:00-17:00", "Mon-Fri 08:30-12:30 14:00-18:00", "Mon-Fri 09:00-18:00; Sat 09:00-12:00")
VISITS = ("Mon-Fri 09:00-12:00", "Tue,Thu 10:00-16:00", "Mon-Fri 10:00-12:00 15:00-17:00; Sat 10:00-12:00")
COLUMNS = [
    "id", "name", "timezone", "languages", "address.whatsapp", "address.webchat", "address.email", "office_hours",
    "visit_hours", "visit_minutes", "visits_at_once", "closed", "fact.street", "fact.phone", "fact.monthly_fee",
    "scope.calendar", "scope.crm", "team",
]  # fmt: skip


def rows(count: int, seed: int, scopes: bool = True) -> list[list[str]]:
    chance = random.Random(seed)
    made = [COLUMNS if scopes else [c for c in COLUMNS if not c.startswith("scope.")]]
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
            "fact.street": f"{chance.choice(STREETS)} {chance.randint(1, 250)}",
            "fact.phone": f"+351 2{chance.randint(10_000_000, 99_999_999)}",
            "fact.monthly_fee": str(chance.randrange(290, 990, 10)),
            "scope.calendar": f"visits/{name}",
            "scope.crm": str(1000 + number),
            "team": f"lead@{name}.example office@{name}.example",
        }
        made.append([values[column] for column in made[0]])
    return made


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
    given = parser.parse_args()
    write(given.path, rows(given.count, given.seed, not given.no_scopes))
    print(f"{given.path}: {given.count} branches")


if __name__ == "__main__":
    main()
