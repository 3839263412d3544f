-- Who is to be forgotten is found among millions of traces without reading them all, while everybody's writes wait.
CREATE INDEX traces_of_subject ON traces (subject) WHERE subject <> '';
