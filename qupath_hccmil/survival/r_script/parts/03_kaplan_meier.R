# ---- Kaplan-Meier curves, medians and log-rank tests --------------------------------------------

curve_of <- function(frame) {
  outcome <- outcome_of(frame)
  survfit(outcome ~ 1, conf.type = "log-log", conf.int = confidence)
}

# Survival at one time; after the last follow-up it is not known.
survival_at <- function(frame, at) {
  found <- summary(curve_of(frame), times = at, extend = TRUE)
  known <- at <= max(frame$time)
  edge <- found$surv %in% c(0, 1)  # no interval on this scale
  there <- frame$time >= at
  if (late) there <- there & frame$entry_time < at
  c(at_risk = sum(there), survival = if (known) found$surv else NA,
    lower = if (known && !edge) found$lower else NA,
    upper = if (known && !edge) found$upper else NA)
}

median_of <- function(frame) {
  found <- summary(curve_of(frame))$table
  found <- found[c("median", grep("LCL|UCL", names(found), value = TRUE))]
  found[is.na(found)] <- Inf
  setNames(as.numeric(found), c("median", "lower", "upper"))
}

in_group <- function(frame, group)
  if (group == "All patients") frame else frame[frame$risk_group %in% group, ]

# A score whose variance may be singular; its degrees of freedom are the rank of the variance.
score_test <- function(gap, variance) {
  own <- diag(variance)
  there <- own > 1e-12 * max(own)
  if (!any(there)) return(c(statistic = NA, df = 0, p = NA))
  spread <- sqrt(own[there])
  parts <- eigen(variance[there, there, drop = FALSE] / outer(spread, spread), symmetric = TRUE)
  kept <- parts$values > 1e-8
  along <- crossprod(parts$vectors[, kept, drop = FALSE], gap[there] / spread)
  statistic <- sum(along^2 / parts$values[kept])
  c(statistic = statistic, df = sum(kept), p = pchisq(statistic, sum(kept), lower.tail = FALSE))
}

# Observed minus expected events of each risk group, weighted over time, and their variance.
weighted_gap <- function(frame, weigh) {
  group <- frame$risk_group
  at <- sort(unique(frame$time[frame$event == 1]))
  entry <- if (late) frame$entry_time else rep(-Inf, nrow(frame))
  in_groups <- function(count) {  # a row for each event, also where there is one or none
    counts <- vapply(levels(group), function(g)
      vapply(at, function(t) count(t, g), numeric(1)), numeric(length(at)))
    matrix(counts, nrow = length(at), ncol = nlevels(group))
  }
  at_risk <- in_groups(function(t, g) sum(frame$time >= t & entry < t & group == g))
  events <- in_groups(function(t, g) sum(frame$time == t & frame$event == 1 & group == g))
  n <- rowSums(at_risk)
  d <- rowSums(events)
  weight <- weigh(n, d)
  share <- at_risk / n
  factor <- weight^2 * ifelse(n > 1, d * (n - d) / pmax(n - 1, 1), 0)
  variance <- diag(colSums(factor * share), ncol(share)) - t(share * factor) %*% share
  list(gap = colSums(weight * (events - d * share)), variance = variance)
}

log_rank_of <- function(frame, strata = NULL) {
  frame$risk_group <- droplevels(frame$risk_group)
  degrees <- nlevels(frame$risk_group) - 1
  if (degrees < 1 || !any(frame$event == 1)) return(c(statistic = NA, df = degrees, p = NA))
  if (late) {
    # survdiff has no late entry; the score test of a Cox model with exact ties is the same test.
    frame$y <- outcome_of(frame)
    frame$layer <- if (is.null(strata)) 1 else strata
    fit <- coxph(y ~ risk_group + strata(layer), frame, ties = "exact")
    degrees <- sum(!is.na(coef(fit)))
    if (degrees == 0) return(c(statistic = NA, df = 0, p = NA))
    return(c(statistic = fit$score, df = degrees,
             p = pchisq(fit$score, degrees, lower.tail = FALSE)))
  }
  frame$layer <- if (is.null(strata)) 1 else strata
  sets <- split(frame, frame$layer, drop = TRUE)
  gaps <- lapply(sets, weighted_gap, weigh = function(n, d) rep(1, length(n)))
  variance <- Reduce(`+`, lapply(gaps, `[[`, "variance"))
  rank <- score_test(Reduce(`+`, lapply(gaps, `[[`, "gap")), variance)
  # survdiff leaves out groups without expected events, and stops where groups never meet.
  if (rank[["df"]] < degrees) return(rank)
  test <- if (is.null(strata)) survdiff(Surv(time, event) ~ risk_group, frame)
          else survdiff(Surv(time, event) ~ risk_group + strata(layer), frame)
  c(statistic = test$chisq, df = degrees, p = pchisq(test$chisq, degrees, lower.tail = FALSE))
}

part("Survival at horizons", "survival", function() {
  report <- read_report("survival_at_horizons")
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    found <- survival_at(in_group(data, row$group), row$time)
    compare("survival_at_horizons", paste(row$group, row$time), names(found),
            row[names(found)], found)
  }
})

part("Median survival", "survival", function() {
  report <- read_report("medians")
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    inside <- in_group(data, row$group)
    found <- c(patients = nrow(inside), events = sum(inside$event), median_of(inside))
    compare("medians", row$group, names(found), row[names(found)], found)
  }
})

part("Median follow-up and log-rank test", "survival", function() {
  found <- median_of(transform(data, event = 1 - event))
  text_numbers("follow-up", c(found, longest = max(data$time)))
  test <- log_rank_of(data)
  text_numbers("log-rank test", c(statistic = test[["statistic"]],
                                  degrees_of_freedom = test[["df"]], p = test[["p"]]))
})

# For separate curves a number is split at its median.
strata_of <- function(term) {
  x <- data[[term$column]]
  if (is.factor(x)) return(x)
  factor(x > median(x, na.rm = TRUE), levels = c(FALSE, TRUE))
}

part("Survival within strata", "survival", function() {
  report <- read_report("survival_in_strata")
  tests <- read_report("log_rank_stratified")
  if (is.null(report)) return()
  shown <- unique(report$variable)
  done <- Filter(function(term) any(tests$variable == term$name), clinical)
  for (number in seq_along(shown)) {
    layers <- strata_of(done[[number]])
    of_variable <- report[report$variable == shown[number], ]
    level_names <- unique(of_variable$level)
    present <- levels(droplevels(layers))
    for (k in seq_along(level_names)) {
      rows <- of_variable[of_variable$level == level_names[k], ]
      inside <- data[layers %in% present[k], ]
      p <- log_rank_of(inside)[["p"]]
      for (i in seq_len(nrow(rows))) {
        row <- rows[i, ]
        one <- in_group(inside, row$group)
        what <- paste(row$variable, row$level, row$group)
        found <- c(patients = nrow(one), events = sum(one$event), median_of(one), log_rank_p = p)
        compare("survival_in_strata", what, names(found), row[names(found)], found)
        for (at in horizons)
          compare("survival_in_strata", what, paste("survival at", at),
                  row[[paste0("survival_at_", format(at, digits = 6))]],
                  survival_at(one, at)[["survival"]])
      }
    }
    test <- log_rank_of(data[!is.na(layers), ], layers[!is.na(layers)])
    row <- tests[tests$variable == done[[number]]$name, ]
    compare("log_rank_stratified", row$variable, c("statistic", "degrees_of_freedom", "p"),
            row[c("statistic", "degrees_of_freedom", "p")], test)
  }
})

part("Restricted mean survival", "survival", function() {
  report <- read_report("restricted_means")
  if (is.null(report)) return()
  found <- lapply(report$group, function(group) {
    inside <- in_group(data, group)
    tau <- report$tau[1]
    if (tau < min(inside$time)) {  # nothing has happened yet; survfit refuses this
      mean <- tau
      se <- 0
    } else {
      table <- summary(curve_of(inside), rmean = tau)$table
      mean <- table[[grep("^[*]?rmean", names(table))]]
      se <- table[[grep("se[(]", names(table))]]
    }
    c(rmst = mean, se = se, lower = mean - critical * se, upper = mean + critical * se)
  })
  for (i in seq_along(found))
    compare("restricted_means", report$group[i], names(found[[i]]), report[i, names(found[[i]])],
            found[[i]])
  gaps <- read_report("restricted_mean_differences")
  for (i in seq_len(NROW(gaps))) {
    gap <- found[[i + 1]][["rmst"]] - found[[1]][["rmst"]]
    se <- sqrt(found[[i + 1]][["se"]]^2 + found[[1]][["se"]]^2)
    numbers <- c(difference = gap, se = se, lower = gap - critical * se,
                 upper = gap + critical * se, z = gap / se, p = 2 * pnorm(-abs(gap / se)))
    compare("restricted_mean_differences", gaps$group[i], names(numbers), gaps[i, names(numbers)],
            numbers)
  }
})
