# The steps of penguins_mixed.py that are written in R. The penguins arrive as a data frame, and what is set on `self`
# goes back to Python: the data frame as a data frame, the model as something that R can read again.

fit <- function(self) {
  of_species <- subset(self$penguins, species == self$input)
  self$model <- lm(body_mass_g ~ flipper_length_mm, data = of_species)
  self$row <- data.frame(
    species = self$input,
    penguins = nrow(of_species),
    flipper_mm = round(mean(of_species$flipper_length_mm), 1),
    mass_g = round(mean(of_species$body_mass_g), 1),
    g_per_mm = round(coef(self$model)[["flipper_length_mm"]], 1),
    r_squared = round(summary(self$model)$r.squared, 3)
  )
  cat(self$input, ": ", self$row$g_per_mm, " g more per mm of flipper\n", sep = "")
}

join <- function(self, inputs) {
  table <- do.call(rbind, gather_inputs(inputs, "row"))
  self$summary <- table[order(-table$g_per_mm), ]
  row.names(self$summary) <- NULL
  self$models <- setNames(gather_inputs(inputs, "model"), table$species)
}
