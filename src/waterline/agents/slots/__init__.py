"""What a person wrote, as a value: names, ages, dates. Pure: the moment and the place are passed in; nothing raises."""
