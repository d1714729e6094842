// SPDX-License-Identifier: GPL-2.0-only
#include <linux/genetlink.h>
#include <linux/module.h>

#include "conn.h"
#include "device.h"
#include "hash.h"
#include "net.h"
#include "netlink.h"
#include "uapi/sluice.h"

static int __init sluice_init(void)
{
	int err;

	sluice_hash_module_init();
	err = sluice_conns_module_init();
	if (err)
		return err;
	err = sluice_net_init();
	if (err)
		goto exit_conns;
	err = sluice_devices_module_init();
	if (err)
		goto exit_net;
	/* Last: from here on somebody may ask for something. */
	err = sluice_netlink_init();
	if (err)
		goto exit_devices;
	return 0;

exit_devices:
	sluice_devices_module_exit();
exit_net:
	sluice_net_exit();
exit_conns:
	sluice_conns_module_exit();
	return err;
}

static void __exit sluice_exit(void)
{
	sluice_netlink_exit();
	sluice_devices_module_exit();
	sluice_net_exit();
	sluice_conns_module_exit();
}

module_init(sluice_init);
module_exit(sluice_exit);

MODULE_DESCRIPTION("Kubernetes network policy and service NAT");
MODULE_AUTHOR("The Sluice authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
MODULE_ALIAS_GENL_FAMILY(SLUICE_GENL_NAME);
