create or replace function analysis.probability_of(classes text[], probabilities real[], class text) returns real
language sql immutable parallel safe
return probabilities[array_position(classes, class)];
comment on function analysis.probability_of is
    'The probability of a class, null if the model does not know it: analysis.probability_of(classes, probabilities, ''NORMAL'').';
