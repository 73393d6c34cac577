"""What nbgrader asks of a course; build.py puts this file into the course folder."""

c = get_config()  # noqa: F821, nbgrader defines it

c.CourseDirectory.course_id = "deep_generative_models"
c.Application.log_level = "WARN"
c.ExecutePreprocessor.timeout = 300  # seconds a cell may take
