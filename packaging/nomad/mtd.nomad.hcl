# mtd as process 1 of a task: the image of packaging/Containerfile, with the pools of the template below.
#
#     nomad job run packaging/nomad/mtd.nomad.hcl
#
# Nomad decides how many tasks there are, mtd how many workers are in each and when one of them is replaced.
job "mtd" {
  type = "service"

  group "mtd" {
    count = 2

    task "mtd" {
      driver = "docker"

      # TERM stops the pools as stop.* says: 40 s at most below, and a rest.
      kill_signal  = "SIGTERM"
      kill_timeout = "60s"

      config {
        image           = "mtd:latest"
        args            = ["--runtime-dir", "/run/mtd", "--state-dir", "/var/lib/mtd"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
        volumes         = ["local/mtd.json:/etc/mtd/mtd.json:ro"]

        mount {
          type   = "tmpfs"
          target = "/run"
        }

        mount {
          type   = "tmpfs"
          target = "/var/lib/mtd"
        }
      }

      env {
        MTD_SOCKET = "/run/mtd"
      }

      template {
        destination = "local/mtd.json"
        perms       = "444"
        data        = <<EOF
{
  "pools": {
    "hello": {
      "command": ["/bin/sh", "-c", "echo \"hello from worker $$MTD_WORKER\"; exec sleep infinity"],
      "workers": 2,
      "stop": {"timeout": "40s"}
    }
  }
}
EOF
      }

      service {
        name     = "mtd"
        provider = "nomad"

        check {
          type     = "script"
          name     = "ready"
          command  = "mtctl"
          args     = ["is-ready", "-q", "--timeout", "5s"]
          interval = "10s"
          timeout  = "10s"
        }
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
