"""A probe that no table of the program names: it is there for the tests alone."""

import torch

from eostui.probes import Column, Probe, Reading

print("a probe is loaded")


class ClassMeans(Probe):
    """Mean output for each class, every 7 steps; a random estimate of tr H; how far the outputs moved."""

    name = "class_means"
    columns = (
        Column("mean_outputs", "1", "mean output for each class", shape=(10,)),
        Column("trace", "L/θ²", "tr H, by one random direction"),
        Column("moved", "1", "distance of the outputs from those before", optional=True),
        Column("pushed", "1/θ", "‖J u‖", optional=True),
        Column("reading_of_s", "L/θ²", "S, as the sharpness probe told it", optional=True),
    )
    cost = "products"

    def __init__(self, config, problem):
        super().__init__(config, problem)
        self.before, self.count = None, 0

    def due(self, moment):
        return moment.step % 7 == 0

    def measure(self, point, moment):
        outputs = point.outputs()
        random = torch.randn(len(point.theta))
        values = {
            "mean_outputs": outputs.mean(0),
            "trace": random @ point.hessian_product(random),
        }
        u = moment.probes["sharpness"].eigenvectors
        values["pushed"] = point.output_product(u[0]).norm()
        if "sharpness" in moment.readings:
            values["reading_of_s"] = moment.readings["sharpness"].values["sharpness"]
        if self.before is not None:
            values["moved"] = (outputs - self.before).norm()
        self.before, self.count = outputs.clone(), self.count + 1
        remarks = [("third", {"loss": float(point.loss)})] if self.count == 3 else []
        return Reading(values, products=1, remarks=remarks)

    def state(self):
        return {"before": self.before, "count": self.count}

    def restore(self, state):
        self.before, self.count = state["before"], state["count"]

    def forget(self):
        self.before = None


class Failing(ClassMeans):
    """The same until step 42, where it fails."""

    name = "failing"
    columns = (Column("twice_the_loss", "L", "2L"),)

    def measure(self, point, moment):
        if moment.step == 42:
            raise ZeroDivisionError("nothing to\ndivide \x1bby")
        return Reading({"twice_the_loss": 2 * point.loss})
