# ---- Sensitivity analyses -----------------------------------------------------------------------

# A Cox model on columns of some patients, without a penalty.
cox_on <- function(rows, x) {
  outcome <- outcome_of(rows)
  layers <- folds_of(rows)
  if (is.null(layers)) coxph(outcome ~ x, control = exact)
  else coxph(outcome ~ x + strata(layers), control = exact)
}

change_by_patient <- function() {
  model <- fit_model(c(list(score_term), clinical))
  x <- model$x
  fit <- cox_on(model$rows, x)
  change <- as.matrix(residuals(fit, type = "dfbeta"))[, 1]
  data.frame(patient = model$rows$patient, change = change,
             in_standard_errors = change / model$se[1])
}

part("Influence of each patient", "survival", function() {
  report <- read_report("influence")
  if (is.null(report)) return()
  found <- change_by_patient()
  found <- found[match(as.character(report$patient), as.character(found$patient)), ]
  for (name in c("change", "in_standard_errors"))
    compare("influence", report$patient, name, report[[name]], found[[name]])
})

part("Effect of the score under other choices", "survival", function() {
  report <- read_report("sensitivity")
  if (is.null(report)) return()
  cohort_of <- function(name) {
    if (name == "Without a follow-up of 0") return(data[data$time > 0, ])
    if (name == "Complete cases") return(data[stats::complete.cases(data[names(variables)]), ])
    if (startsWith(name, "Landmark at ")) {
      at <- as.numeric(strsplit(name, " ")[[1]][3])
      later <- data[data$time > at, ]
      later$time <- later$time - at
      if (late) later$entry_time <- pmax(later$entry_time - at, 0)
      return(later)
    }
    if (startsWith(name, "Without the ")) {
      most <- as.character(read_report("influence")$patient)
      count <- as.numeric(strsplit(name, " ")[[1]][3])
      return(data[!(as.character(data$patient) %in% most[seq_len(count)]), ])
    }
    data
  }
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    what <- paste(row$analysis, row$model)
    if (row$analysis == "After multiple imputation") {
      pooled <- read_report("cox_imputed")  # compared with R above
      names <- c("coefficient", "se", "hazard_ratio", "lower", "upper", "p")
      compare("sensitivity", what, names, row[names],
              pooled[pooled$variable == "risk_score__", names])
      next
    }
    terms <- c(list(score_term), if (row$model == "score alone") NULL else clinical)
    model <- fit_model(terms, cohort_of(row$analysis), with_limits = TRUE)
    found <- c(patients = nrow(model$rows), events = sum(model$rows$event),
               coefficient = model$coefficients[1], hazard_ratio = exp(model$coefficients[1]),
               lower = exp(model$lower[1]), upper = exp(model$upper[1]), p = model$p[1])
    compare("sensitivity", what, names(found), row[names(found)], found,
            if (model$method == "Firth") 1e-5 else 1e-6)
  }
})

part("Test of linearity", "survival", function() {
  report <- read_report("nonlinearity")
  if (is.null(report)) return()
  rows <- complete_rows(c(list(score_term), clinical))
  terms <- varying(c(list(score_term), clinical), rows)
  x <- design(terms, rows)
  likelihood <- function(x)
    cox_on(rows, x)$loglik[2]
  for (term in terms) {
    row <- report[report$variable == term$name, ]
    if (!nrow(row) || is.na(row$statistic)) next
    value <- rows[[term$column]] / term$per
    bend <- spline_columns(value, unique(quantile(value, c(0.1, 0.5, 0.9))))[, 2]
    statistic <- 2 * (likelihood(cbind(x, bend)) - likelihood(x))
    compare("nonlinearity", term$name, c("statistic", "p", "patients", "events"),
            row[c("statistic", "p", "patients", "events")],
            c(statistic, pchisq(max(statistic, 0), 1, lower.tail = FALSE), nrow(rows),
              sum(rows$event)))
  }
})

part("Hazard ratio along the score", "survival", function() {
  report <- read_report("score_curve")
  if (is.null(report)) return()
  value <- data$risk_score
  knots <- unique(quantile(value, c(0.1, 0.5, 0.9)))
  x <- spline_columns(value, knots)
  fit <- cox_on(data, x)
  away <- sweep(spline_columns(report$value, knots), 2,
                as.vector(spline_columns(median(value), knots)))
  height <- as.vector(away %*% coef(fit))
  half <- critical * sqrt(rowSums((away %*% fit$var) * away))
  found <- list(hazard_ratio = exp(height), lower = exp(height - half), upper = exp(height + half))
  for (name in names(found))
    compare("score_curve", signif(report$value, 4), name, report[[name]], found[[name]])
})
