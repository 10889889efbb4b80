-- title: The stored maps, for att_row(map, query) and att_at(map, query, key)
SELECT m.id AS map, p.ord AS prompt, m.point, m.layer, m.head, 'L' || m.layer || 'H' || m.head AS name,
  m.n_q, m.n_k, m.dtype
FROM prompt AS p JOIN map AS m ON m.prompt_id = p.id
WHERE p.run_id = :run AND (:prompt IS NULL OR p.id = :prompt)
ORDER BY p.ord, m.point DESC, m.layer, m.head
