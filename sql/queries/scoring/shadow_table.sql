create temporary table shadow_result (
    image_id        bigint not null,
    predicted_class text   not null,
    top_probability real   not null,
    probabilities   real[] not null
) on commit drop
