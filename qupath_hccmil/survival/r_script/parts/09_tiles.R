# ---- Tiles of interest --------------------------------------------------------------------------

part("Tiles of interest", "stats", function() {
  report <- read_report("tiles_of_interest")
  for (i in seq_len(NROW(report))) {
    row <- report[i, ]
    counts <- matrix(c(row$high, row$high_total - row$high, row$low, row$low_total - row$low), 2)
    exact_test <- fisher.test(counts, conf.level = confidence)
    # The root finder of fisher.test stops 1e-4 from x, or from 1 / x where x is above 1.
    found <- c(exact_test$estimate, exact_test$conf.int)
    compare("tiles_of_interest", row$feature, c("odds_ratio", "lower", "upper"),
            row[c("odds_ratio", "lower", "upper")], found, 2e-4 * pmax(1, found))
    compare("tiles_of_interest", row$feature, "fisher_p", row$fisher_p, exact_test$p.value)
    if (is.na(row$chi_square_p)) next
    for (yates in c(FALSE, TRUE))
      compare("tiles_of_interest", row$feature, c("chi_square_p", "yates_p")[yates + 1],
              row[[c("chi_square_p", "yates_p")[yates + 1]]],
              suppressWarnings(chisq.test(counts, correct = yates)$p.value))
  }
})
