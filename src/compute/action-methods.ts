import { z } from 'zod'
import { Instance } from '../objects/instance.ts'
import { cast } from '../rpc/contract.ts'

/** The instance as last stored, and the number of the action among all of that instance. */
const ofInstance = { instance: Instance, number: z.int().min(1) }
const output = z.null()

/** What is done to guests that are there: the part of the worker's door that is about actions. */
export const actionMethods = {
  startInstance: cast({
    wire: 'start_instance',
    since: '1.2',
    summary:
      'Defines the guest anew and starts it, and proves its encryption; running already, it is only proven. Accepted once written to the journal; report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  stopInstance: cast({
    wire: 'stop_instance',
    since: '1.2',
    summary:
      'Powers the guest off, asking it to shut down first unless `clean_shutdown` is false. Accepted once written to the journal; report_action tells its end.',
    input: z.strictObject({ ...ofInstance, clean_shutdown: z.boolean().default(true) }),
    output,
  }),
}
