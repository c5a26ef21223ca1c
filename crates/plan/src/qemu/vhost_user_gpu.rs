//! Video cards that a process of their own renders for.

use super::build::{Build, Props, Switch, fd_mark};
use crate::step::{Action, Arg, Helper, Step, Undo};
use model::domain::devices::video::Video;

impl Build<'_> {
    /// A virtio card whose work a vhost-user program does; QEMU gets the connection to it.
    pub(super) fn vhost_user_video(&mut self, video: &Video, primary: bool) {
        let model = video.model.clone().unwrap_or_default();
        let driver = video.driver.clone().unwrap_or_default();
        let id = self.alias(&video.alias, "<video>");
        let vga = primary && self.has("vhost-user-vga");
        if !vga {
            self.need("vhost-user-gpu", "<video><driver name='vhostuser'>");
        }
        let name = match vga {
            true => "vhost-user-vga".to_string(),
            false => self.virtio_name("vhost-user-gpu", &video.address, None),
        };
        let chardev = format!("chr-vu-{id}");
        let connection = self.vhost_user_gpu(video, &id);
        self.opt("-chardev", &format!("socket,id={chardev},fd={}", fd_mark(&connection)));
        let place = self.place(&video.address, "<video>");
        // A card that is also a VGA takes no options of the transport.
        let options = if vga { None } else { Some(&driver.virtio) };
        self.device(
            Props::device(&name)
                .extend(Self::virtio_options(options))
                .set("id", id)
                .opt("max_outputs", model.heads)
                .set("chardev", chardev)
                .extend(place),
        );
    }

    /// Starts the program that renders, and connects to it; the connection's name.
    fn vhost_user_gpu(&mut self, video: &Video, id: &str) -> String {
        let connection = format!("char-vu-{id}.fd");
        let backend = self.host.vhost_user.iter().find(|backend| backend.kind == "gpu");
        let Some(binary) = backend.map(|backend| backend.binary.clone()) else {
            let text = "Unable to find a satisfying vhost-user-gpu";
            self.fail_with("qemu.vhost-user-gpu", diag::ErrorCode::OPERATION_FAILED, text);
            return connection;
        };
        let base = format!("{}/{id}-vhost-user-gpu", self.private_dir);
        let (socket, pid_file) = (format!("{base}.sock"), format!("{base}.pid"));
        let mut args: Vec<Arg> = vec![format!("--socket-path={socket}").into()];
        let acceleration = video.model.as_ref().and_then(|model| model.acceleration.as_ref());
        if acceleration.and_then(|a| a.accel3d).is_some_and(Switch::on) {
            args.push("--virgl".into());
        }
        if let Some(node) = acceleration.and_then(|a| a.rendernode.as_ref()) {
            args.push(format!("--render-node={node}").into());
        }
        let helper = Helper {
            program: binary,
            args,
            owner: self.ids(),
            pid_file: Some(pid_file.clone()),
            socket: Some(socket.clone()),
            daemonizes: false,
            log: None,
            socket_owner: None,
            one_shot: false,
        };
        self.steps.push(Step::new(Action::Helper(helper)).undone_by(Undo::EndHelper { pid_file }));
        self.steps.push(Step::new(Action::ConnectUnix { path: socket }).yields(connection.clone()));
        connection
    }
}
