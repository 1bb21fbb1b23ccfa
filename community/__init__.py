"""Community stations (社区服务站): inquiries, appointments, feedback, activities and sites."""
